import type { AwsCredentialIdentity } from '@smithy/types'
import { PosternError } from '../base/errors.ts'

/** Where credentials for AWS are looked for. */
export interface AwsSource {
  readonly region: string
  /** A file of shared credentials. Default: web identity, pod and instance roles, and what else the platform gives. */
  readonly credentialsFile: string | undefined
  readonly profile: string | undefined
}

/** Returns AWS' own chain of credentials, which renews by itself. What is returned throws CREDENTIALS_MISSING. */
export async function awsCredentials({
  region,
  credentialsFile: filepath,
  profile,
}: AwsSource): Promise<() => Promise<AwsCredentialIdentity>> {
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node')
  const find = defaultProvider({
    clientConfig: { region },
    ...(filepath === undefined ? {} : { filepath, configFilepath: filepath, ignoreCache: true }),
    ...(filepath === undefined && profile === undefined ? {} : { profile: profile ?? 'default' }),
  })
  return async () => {
    try {
      return await find()
    } catch (error) {
      const text = `no source of AWS credentials has any (${(error as Error).name})`
      throw new PosternError('CREDENTIALS_MISSING', text, {}, { cause: error })
    }
  }
}
