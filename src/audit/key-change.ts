import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto'
import { chownSync, existsSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { asPosternError, PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { FOR_ALL, FOR_OWNER, writeState } from '../identity/state-files.ts'
import { archivedKeyPath, PRIVATE_NAME, publicKeyPath, type AuditKey } from './audit-key.ts'
import { keyId } from './chain.ts'

const NEXT = 'audit-key.next.pem'
const ROOT = 0

/** What a line of a record says where another key signs from there on. */
export interface KeyChange {
  readonly event: 'key'
  /** SubjectPublicKeyInfo of the key that follows, in base64. */
  readonly key: string
  /** Identifier of the key before it, in hex. */
  readonly by: string
  /** Ed25519 by that one, in base64. */
  readonly signature: string
}

/** Makes the key that is to follow: whoever writes the record takes it over. Returns its identifier. @throws STATE_UNWRITABLE */
export function makeNextKey(directory: string): string {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  const path = join(directory, NEXT)
  writeState(path, pem, FOR_OWNER)
  // Made by root, it is the daemon's to read all the same.
  const { uid, gid } = statSync(directory)
  if (process.getuid?.() === ROOT) chownSync(path, uid, gid)
  return keyId(publicKey)
}

/** Whether a key waits to be taken over. */
export function hasNextKey(directory: string): boolean {
  return existsSync(join(directory, NEXT))
}

/** The key that is to follow; undefined: there is none, or one that is none, which the log tells. */
export function nextKey(directory: string, logger: Logger): AuditKey | undefined {
  if (!hasNextKey(directory)) return undefined
  try {
    return readNextKey(directory)
  } catch (error) {
    const { code, rawMessage: reason } = asPosternError(error)
    logger.error({ code, reason }, 'the audit key that was to follow is not taken')
    return undefined
  }
}

/** Reads the key that is to follow. One that is none is put aside, and the record goes on with the one it has. @throws FILE_UNREADABLE */
function readNextKey(directory: string): AuditKey {
  const path = join(directory, NEXT)
  try {
    const privateKey = createPrivateKey(readFileSync(path))
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new TypeError('it is not of Ed25519')
    const publicKey = createPublicKey(privateKey)
    return { privateKey, publicKey, id: keyId(publicKey) }
  } catch (error) {
    renameSync(path, `${path}.bad`)
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
}

/** What the line says, signed by the key that signs so far. */
export function keyChange(now: AuditKey, next: AuditKey): KeyChange {
  const key = next.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const signature = sign(null, changeBytes(now.id, key), now.privateKey).toString('base64')
  return { event: 'key', key, by: now.id, signature }
}

/** The key that a line has follow, by the word of one that is known; undefined: it is none, or nobody's word. */
export function keyThatFollows(
  { key, by, signature }: Readonly<Record<string, unknown>>,
  known: ReadonlyMap<string, KeyObject>,
): KeyObject | undefined {
  if (typeof key !== 'string' || typeof by !== 'string' || typeof signature !== 'string')
    return undefined
  const signer = known.get(by)
  if (signer === undefined) return undefined
  if (!verify(null, changeBytes(by, key), signer, Buffer.from(signature, 'base64')))
    return undefined
  try {
    const next = createPublicKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'spki' })
    return next.asymmetricKeyType === 'ed25519' ? next : undefined
  } catch {
    // Signed, and none all the same.
    return undefined
  }
}

/** Puts the key that follows in the place of the one before, whose public half stays beside it. @throws STATE_UNWRITABLE */
export function installNextKey(directory: string, now: AuditKey, next: AuditKey): void {
  const publicPem = (key: KeyObject): string | Buffer => key.export({ type: 'spki', format: 'pem' })
  writeState(archivedKeyPath(directory, now.id), publicPem(now.publicKey), FOR_ALL)
  renameSync(join(directory, NEXT), join(directory, PRIVATE_NAME))
  writeState(publicKeyPath(directory), publicPem(next.publicKey), FOR_ALL)
}

function changeBytes(by: string, key: string): Buffer {
  return Buffer.from(`postern record key 1\n${by}\n${key}\n`)
}
