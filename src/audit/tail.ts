import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { PosternError } from '../base/errors.ts'
import { GENESIS, type Batch } from './chain.ts'

const PIECE_BYTES = 1024 * 1024
/** More than a batch ever has: what is behind the last one. */
const TAIL_BYTES_MAX = 64 * 1024 * 1024

/** How a file of a record ends, for a writer that goes on with it. */
export interface Tail {
  /** Hash of its last batch; that before the first where it has none. */
  readonly prev: string
  /** Number of its last numbered line; undefined where it has none. */
  readonly n: number | undefined
  /** Whole lines behind the last batch, which belong to the next. */
  readonly open: Buffer
  /** How many lines of these are numbered. */
  readonly openCount: number
  /** Where whole lines end; what is behind was cut off within a line. */
  readonly wholeBytes: number
  readonly bytes: number
}

/** Reads how a file of a record ends, from its end backwards. */
export function readTail(path: string): Tail {
  const file = openSync(path, 'r')
  try {
    const bytes = fstatSync(file).size
    for (let want = PIECE_BYTES; ; want *= 2) {
      const from = Math.max(0, bytes - want)
      const piece = Buffer.alloc(bytes - from)
      readSync(file, piece, 0, piece.length, from)
      const found = tailOf(piece, from, bytes)
      if (found !== undefined) return found
      if (want > TAIL_BYTES_MAX)
        throw new PosternError('FILE_UNREADABLE', `${path}: it is no file of a record`, { path })
    }
  } finally {
    closeSync(file)
  }
}

/** Undefined: the piece does not reach back to a batch, and more of the file is to be read. */
function tailOf(piece: Buffer, from: number, bytes: number): Tail | undefined {
  const whole = piece.lastIndexOf(0x0a) + 1
  const lines = piece.subarray(0, whole).toString().split('\n').slice(0, -1)
  // The first line of a piece that begins within the file may be cut.
  const first = from === 0 ? 0 : 1
  let n: number | undefined
  let openCount = 0
  let open = 0
  for (let index = lines.length - 1; index >= first; index--) {
    const line = lines[index] ?? ''
    const batch = batchOf(line)
    if (batch !== undefined) {
      const start = whole - open
      return {
        prev: batch.hash,
        n: n ?? batch.to,
        open: Buffer.from(piece.subarray(start, whole)),
        openCount,
        wholeBytes: from + whole,
        bytes,
      }
    }
    open += Buffer.byteLength(line) + 1
    const number = /^\{"n":(\d+),/.exec(line)?.[1]
    if (number === undefined) continue
    n ??= Number(number)
    openCount++
  }
  if (from > 0) return undefined
  // No batch was finished in this file: it goes on from what its first line says.
  const header = headerOf(lines[0] ?? '')
  return {
    prev: header?.prev ?? GENESIS,
    n: n ?? (header === undefined ? undefined : header.n - 1),
    open: Buffer.from(piece.subarray(0, whole)),
    openCount,
    wholeBytes: whole,
    bytes,
  }
}

/** Returns the batch that a line ends; undefined for other lines. */
export function batchOf(line: string): Batch | undefined {
  if (!line.startsWith('{"batch":')) return undefined
  try {
    const { batch, ...others } = JSON.parse(line) as { batch: Partial<Batch> }
    const { from, to, prev, hash } = batch
    const isAlone = Object.keys(others).length === 0
    const isWhole = isAlone && Number.isInteger(from) && Number.isInteger(to)
    return isWhole && typeof prev === 'string' && typeof hash === 'string'
      ? (batch as Batch)
      : undefined
  } catch {
    // No batch of ours is like that.
    return undefined
  }
}

/** The first line of a file of a record. */
export interface Header {
  readonly number: number
  /** Number of the first line in it. */
  readonly n: number
  /** Hash of the batch that it goes on from. */
  readonly prev: string
  readonly identity: string
  /** Public key of its checkpoints: SubjectPublicKeyInfo in base64. */
  readonly key: string
}

/** Returns what the first line of a file says; undefined where it is none. */
export function headerOf(line: string): Header | undefined {
  if (!line.startsWith('{"segment":')) return undefined
  try {
    const { segment } = JSON.parse(line) as { segment: Partial<Header> }
    const { number, n, prev, identity, key } = segment
    const isWhole = Number.isInteger(number) && Number.isInteger(n)
    return isWhole && [prev, identity, key].every((text) => typeof text === 'string')
      ? (segment as Header)
      : undefined
  } catch {
    // No header of ours is like that.
    return undefined
  }
}
