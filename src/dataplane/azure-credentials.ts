import type { TokenCredential } from '@azure/identity'
import { PosternError } from '../base/errors.ts'

/** Returns what the platform gives an agent for Azure: a federated identity, or a managed one. Both renew by themselves. */
export async function azureIdentity(): Promise<TokenCredential> {
  const { ChainedTokenCredential, ManagedIdentityCredential, WorkloadIdentityCredential } =
    await import('@azure/identity')
  const sources = [() => new WorkloadIdentityCredential(), () => new ManagedIdentityCredential()]
  const usable = sources.flatMap((make) => {
    try {
      return [make()]
    } catch {
      // Its environment variables are not there: this is no place with that source.
      return []
    }
  })
  return new ChainedTokenCredential(...usable)
}

/** A token for an API. @throws CREDENTIALS_MISSING */
export async function azureToken(
  credential: TokenCredential,
  scope: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    return (await credential.getToken(scope, { abortSignal: signal }))?.token ?? ''
  } catch (error) {
    const text = `no source of Azure credentials has any (${(error as Error).name})`
    throw new PosternError('CREDENTIALS_MISSING', text, {}, { cause: error })
  }
}
