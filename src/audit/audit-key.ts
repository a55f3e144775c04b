import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { FOR_ALL, FOR_OWNER, writeState } from '../identity/state-files.ts'
import { keyId } from './chain.ts'

/** The file of the key. */
export const PRIVATE_NAME = 'audit-key.pem'
const PUBLIC = 'audit-key.pub.pem'
const ID_CHARS = 16
const ARCHIVED = /^audit-key-[0-9a-f]{16}\.pub\.pem$/

/** The key that signs checkpoints: made here, on the customer's side, and certified by nobody. */
export interface AuditKey {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** SHA-256 of the public key, in hex. */
  readonly id: string
}

/** Reads the audit key of a record, or makes one. @throws FILE_UNREADABLE, STATE_UNWRITABLE */
export function auditKey(directory: string): AuditKey {
  const path = join(directory, PRIVATE_NAME)
  if (!existsSync(path)) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    writeState(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), FOR_OWNER)
    writeState(join(directory, PUBLIC), publicKey.export({ type: 'spki', format: 'pem' }), FOR_ALL)
    return { privateKey, publicKey, id: keyId(publicKey) }
  }
  try {
    const privateKey = createPrivateKey(readFileSync(path))
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new TypeError('it is not of Ed25519')
    const publicKey = createPublicKey(privateKey)
    // A change of keys may have been cut off in front of it.
    if (!existsSync(join(directory, PUBLIC)))
      writeState(
        join(directory, PUBLIC),
        publicKey.export({ type: 'spki', format: 'pem' }),
        FOR_ALL,
      )
    return { privateKey, publicKey, id: keyId(publicKey) }
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
}

/** Reads the public key of a record, which a reviewer has from the customer. @throws FILE_UNREADABLE */
export function readPublicKey(path: string): KeyObject {
  try {
    return createPublicKey(readFileSync(path))
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
}

/** Where the public key lies that signed before another. */
export function archivedKeyPath(directory: string, id: string): string {
  return join(directory, `audit-key-${id.slice(0, ID_CHARS)}.pub.pem`)
}

/** Where the public keys of a record lie: the present one, and those before it. */
export function publicKeyPaths(directory: string): readonly string[] {
  const names = existsSync(directory) ? readdirSync(directory) : []
  const before = names.filter((name) => ARCHIVED.test(name)).sort()
  return [publicKeyPath(directory), ...before.map((name) => join(directory, name))]
}

/** Where the public key of a record lies. */
export function publicKeyPath(directory: string): string {
  return join(directory, PUBLIC)
}
