import { execFileSync } from 'node:child_process'
import { PosternError } from '../base/errors.ts'
import { KeyProtection } from './key-protection.ts'
import { readSecretFile } from './key-files.ts'

const COMMAND_MS_MAX = 30_000
const BYTES_MAX = 4096

/** What `config check` says where only a program could open the key. */
export const KEY_UNOPENED =
  'the key was not opened: a check runs no program, and identity.passphraseCommand is one'

/** Where a passphrase comes from. */
export interface PassphraseSource {
  /** A file for its owner alone, such as a systemd credential. */
  readonly file: string | undefined
  /** A program with its arguments, whose first line of output is the passphrase: for a KMS or TPM. */
  readonly command: readonly string[]
}

/**
 * Reads the passphrase that private keys are encrypted with, from a file or a command; neither: they are in clear.
 * @throws CONFIG_INVALID, KEY_LOCKED, and what readSecretFile throws
 */
export function readProtection({ file, command }: PassphraseSource): KeyProtection {
  if (file !== undefined && command.length > 0) {
    const text = 'identity: passphraseFile and passphraseCommand are two ways; name one'
    throw new PosternError('CONFIG_INVALID', text)
  }
  if (file !== undefined) return new KeyProtection(firstLine(readSecretFile(file), file))
  if (command.length > 0) return new KeyProtection(ofCommand(command))
  return new KeyProtection()
}

/** The settings that say how a private key is encrypted. */
export interface PassphraseSettings {
  readonly 'identity.passphraseFile': string | undefined
  readonly 'identity.passphraseCommand': readonly string[]
}

/** Reads the passphrase that the settings name. @throws as readProtection */
export function protectionOf(settings: PassphraseSettings): KeyProtection {
  const file = settings['identity.passphraseFile']
  return readProtection({ file, command: settings['identity.passphraseCommand'] })
}

/** At start and at reload only, so it may wait. */
function ofCommand([program = '', ...args]: readonly string[]): string {
  try {
    const output = execFileSync(program, args, {
      encoding: 'utf8',
      timeout: COMMAND_MS_MAX,
      maxBuffer: BYTES_MAX,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    return firstLine(output, program)
  } catch (error) {
    if (error instanceof PosternError) throw error
    // Without the cause: it holds what the program printed.
    const { code, status } = error as { code?: string; status?: number | null }
    const why = code ?? `exit status ${String(status)}`
    throw new PosternError('KEY_LOCKED', `identity.passphraseCommand ${program} failed: ${why}`)
  }
}

function firstLine(text: string, source: string): string {
  const line = text.split('\n')[0]?.replace(/\r$/, '') ?? ''
  if (line !== '' && line.length <= BYTES_MAX) return line
  throw new PosternError('KEY_LOCKED', `${source} holds no passphrase in its first line`)
}
