import { existsSync } from 'node:fs'
import { join } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

interface PassphraseSettings {
  readonly 'identity.passphraseFile'?: string | undefined
  readonly 'identity.passphraseCommand'?: readonly string[]
}

/** Path of a credential that systemd hands over (LoadCredential=NAME:...), where it does. */
export function credentialFile(name: string, environment: Environment): string | undefined {
  const folder = environment.CREDENTIALS_DIRECTORY
  if (folder === undefined) return undefined
  const path = join(folder, name)
  return existsSync(path) ? path : undefined
}

/** The credential key-passphrase takes the place of settings that name no passphrase. */
export function withPassphrase<T extends PassphraseSettings>(
  settings: T,
  environment: Environment,
): T {
  const isNamed =
    settings['identity.passphraseFile'] !== undefined ||
    (settings['identity.passphraseCommand'] ?? []).length > 0
  const path = isNamed ? undefined : credentialFile('key-passphrase', environment)
  return path === undefined ? settings : { ...settings, 'identity.passphraseFile': path }
}

/** The credential join-token takes the place of a missing join.tokenFile. */
export function withToken<T extends { readonly 'join.tokenFile'?: string | undefined }>(
  settings: T,
  environment: Environment,
): T {
  if (settings['join.tokenFile'] !== undefined) return settings
  const path = credentialFile('join-token', environment)
  return path === undefined ? settings : { ...settings, 'join.tokenFile': path }
}
