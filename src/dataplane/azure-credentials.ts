import type { TokenCredential } from '@azure/identity'

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
