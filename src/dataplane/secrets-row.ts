/** The kinds of backends for secrets. */
export const SECRETS_TYPES = ['files', 'kubernetes', 'vault', 'aws', 'gcp', 'azure'] as const

interface Common {
  readonly name: string
}

/** One row of `secrets:`. */
export type SecretsRow =
  | (Common & {
      readonly type: 'files'
      readonly directory: string
      /** `age1...`: whom files are encrypted to; its identity is not the agent's to have. */
      readonly recipient: string
    })
  | (Common & {
      readonly type: 'kubernetes'
      readonly namespace: string
      readonly url: URL
      readonly caFile: string
      readonly tokenFile: string
    })
  | (Common & {
      readonly type: 'vault'
      readonly url: URL
      /** Of the KV engine, version 2. */
      readonly mount: string
      /** In it; empty, or with a slash at its end. */
      readonly prefix: string
      readonly caFile: string | undefined
      readonly tokenFile: string
    })
  | (Common & {
      readonly type: 'aws'
      readonly region: string
      readonly endpoint: URL
      readonly prefix: string
      readonly caFile: string | undefined
      readonly kmsKey: string | undefined
      readonly credentialsFile: string | undefined
      readonly profile: string | undefined
    })
  | (Common & {
      readonly type: 'gcp'
      readonly project: string
      readonly endpoint: URL
      /** Before each name, which is flat there. */
      readonly prefix: string
      readonly caFile: string | undefined
      readonly credentialsFile: string | undefined
    })
  | (Common & {
      readonly type: 'azure'
      /** Of the vault. */
      readonly url: URL
      readonly prefix: string
      readonly caFile: string | undefined
    })
