import { createHash, type KeyObject, sign, verify } from 'node:crypto'

/** What stands before the first batch of a record. */
export const GENESIS = '0'.repeat(64)

/** A batch as the line behind it says: the lines that it holds, and the hash over them and the batch before. */
export interface Batch {
  /** Numbers of its first and last line; where it has none of its own, `to` is one less than `from`. */
  readonly from: number
  readonly to: number
  /** SHA-256 of the batch before, in hex. */
  readonly prev: string
  readonly hash: string
}

/** A signed statement of how far a record goes. */
export interface Checkpoint {
  /** The last line that it covers. */
  readonly n: number
  /** Hash of the last batch, in hex. */
  readonly hash: string
  /** ISO 8601. */
  readonly at: string
  /** SHA-256 of the public key (SubjectPublicKeyInfo), in hex. */
  readonly key: string
  /** Ed25519, in base64. */
  readonly signature: string
}

/** Returns the hash of a batch: over the hash of the one before, a line feed, and the bytes of its lines, in two pieces. */
export function batchHash(prev: string, open: Uint8Array, lines: Uint8Array): string {
  return createHash('sha256').update(`${prev}\n`).update(open).update(lines).digest('hex')
}

/** Writes the line that ends a batch. */
export function batchLine(batch: Batch): string {
  return `${JSON.stringify({ batch })}\n`
}

/** Returns the key identifier of an audit key. */
export function keyId(publicKey: KeyObject): string {
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest('hex')
}

/** Signs how far a record goes. */
export function signCheckpoint(
  said: Pick<Checkpoint, 'n' | 'hash' | 'at'>,
  privateKey: KeyObject,
  key: string,
): Checkpoint {
  const signature = sign(null, checkpointBytes(said), privateKey).toString('base64')
  return { n: said.n, hash: said.hash, at: said.at, key, signature }
}

/** Whether a checkpoint was signed by a key. */
export function isSignedBy(checkpoint: Checkpoint, publicKey: KeyObject): boolean {
  const signature = Buffer.from(checkpoint.signature, 'base64')
  return verify(null, checkpointBytes(checkpoint), publicKey, signature)
}

function checkpointBytes({ n, hash, at }: Pick<Checkpoint, 'n' | 'hash' | 'at'>): Buffer {
  return Buffer.from(`postern record checkpoint 1\n${String(n)}\n${hash}\n${at}\n`)
}
