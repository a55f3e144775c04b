import type { AwsCredentialIdentity } from '@smithy/types'

/** Where credentials for AWS are looked for. */
export interface AwsSource {
  readonly region: string
  /** A file of shared credentials. Default: web identity, pod and instance roles, and what else the platform gives. */
  readonly credentialsFile: string | undefined
  readonly profile: string | undefined
}

/** Returns AWS' own chain of credentials, which renews by itself. */
export async function awsCredentials({
  region,
  credentialsFile: filepath,
  profile,
}: AwsSource): Promise<() => Promise<AwsCredentialIdentity>> {
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node')
  return defaultProvider({
    clientConfig: { region },
    ...(filepath === undefined ? {} : { filepath, configFilepath: filepath, ignoreCache: true }),
    ...(filepath === undefined && profile === undefined ? {} : { profile: profile ?? 'default' }),
  })
}
