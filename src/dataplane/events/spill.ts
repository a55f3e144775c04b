import { createCipheriv, createDecipheriv } from 'node:crypto'
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { attempt, FOR_OWNER, makeFolder, writeState } from '../../identity/state-files.ts'

const CIPHER = 'aes-256-gcm'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 4
const SEGMENT_BYTES_MAX = 256 * 1024
const RECORD_BYTES_MAX = 1024 * 1024
const NAME = /^(\d{12})\.events$/

/** A segment on disk, and its records. */
export interface Segment {
  readonly number: number
  readonly records: readonly Buffer[]
}

/** Where records lie, the file of their key, and how many bytes there may be. */
export interface SpillPlace {
  readonly directory: string
  readonly keyFile: string
  readonly bytesMax: number
}

/**
 * Records on disk until they are acknowledged, in segments that go as a whole. Each is encrypted with a key that lies with the agent's state
 * (AES-256-GCM, a random nonce for each record), so that the volume that holds them holds no text.
 */
export class Spill {
  readonly #directory: string
  readonly #key: Buffer
  readonly #random: Pick<Random, 'hex'>
  readonly #bytesMax: number
  /** Bytes of each segment, oldest first. */
  readonly #segments = new Map<number, number>()
  /** The one that this process writes. */
  #own: number | undefined
  /** Numbers are used once. */
  #highest = 0
  /** Segments with a record that could not be read. */
  damaged = 0

  /** @throws STATE_UNWRITABLE, FILE_UNREADABLE */
  constructor({ directory, keyFile, bytesMax }: SpillPlace, random: Pick<Random, 'hex'>) {
    this.#directory = directory
    this.#bytesMax = bytesMax
    makeFolder(directory)
    this.#random = random
    this.#key = keyOf(keyFile, random)
    for (const name of readdirSync(directory).sort()) {
      const number = NAME.exec(name)?.[1]
      if (number === undefined) continue
      this.#segments.set(Number(number), statSync(join(directory, name)).size)
      this.#highest = Number(number)
    }
  }

  get bytes(): number {
    return [...this.#segments.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  /** Writes records down, all of them or none, and returns their segment. @throws STATE_UNWRITABLE */
  append(records: readonly Uint8Array[]): number {
    const bytes = Buffer.concat(records.flatMap((record) => this.#seal(record)))
    const segment = this.#segmentFor(bytes.length)
    const before = this.#segments.get(segment) ?? 0
    const path = this.#path(segment)
    try {
      attempt(path, () => {
        appendFileSync(path, bytes, { mode: FOR_OWNER })
      })
    } catch (error) {
      this.#takeBack(segment, before)
      throw error
    }
    this.#segments.set(segment, before + bytes.length)
    return segment
  }

  #seal(record: Uint8Array): Buffer[] {
    const nonce = Buffer.from(this.#random.hex(NONCE_BYTES), 'hex')
    const cipher = createCipheriv(CIPHER, this.#key, nonce)
    const head = Buffer.alloc(HEAD_BYTES)
    head.writeUInt32BE(NONCE_BYTES + record.length + TAG_BYTES)
    return [head, nonce, cipher.update(record), cipher.final(), cipher.getAuthTag()]
  }

  /** A disk that is full has taken a part: nothing is written behind that, and it goes where that can be done. */
  #takeBack(segment: number, bytes: number): void {
    this.cut()
    try {
      if (bytes === 0) rmSync(this.#path(segment), { force: true })
      else truncateSync(this.#path(segment), bytes)
    } catch {
      // The part stays, and ends its segment for whoever reads it: no record follows it.
    }
  }

  /** What an earlier process has left ends where it was cut off: nothing is written behind that. */
  #segmentFor(length: number): number {
    const own = this.#own === undefined ? undefined : this.#segments.get(this.#own)
    if (this.#own === undefined || own === undefined || own + length > SEGMENT_BYTES_MAX)
      this.#own = ++this.#highest
    return this.#own
  }

  /** What is written from now on goes into a segment of its own. */
  cut(): void {
    this.#own = undefined
  }

  /** Whether there is room for so many records, of so many bytes together. */
  fits(count: number, bytes: number): boolean {
    return this.bytes + bytes + count * (HEAD_BYTES + NONCE_BYTES + TAG_BYTES) <= this.#bytesMax
  }

  /** The records of the first segment behind another; undefined: there is none. One that is damaged ends its segment, and is counted. */
  readAfter(segment: number): Segment | undefined {
    const next = [...this.#segments.keys()].find((one) => one > segment)
    if (next === undefined) return undefined
    const records: Buffer[] = []
    const all = readFileSync(this.#path(next))
    for (let at = 0; at < all.length;) {
      const length = at + HEAD_BYTES <= all.length ? all.readUInt32BE(at) : 0
      const end = at + HEAD_BYTES + length
      const bytes =
        length > RECORD_BYTES_MAX || end > all.length
          ? undefined
          : this.#open(all.subarray(at + HEAD_BYTES, end))
      if (bytes === undefined) {
        this.damaged++
        break
      }
      records.push(bytes)
      at = end
    }
    return { number: next, records }
  }

  /** Everything up to a segment is acknowledged. */
  dropBefore(segment: number): void {
    for (const one of this.#segments.keys()) {
      if (one >= segment) return
      rmSync(this.#path(one), { force: true })
      this.#segments.delete(one)
    }
  }

  #open(sealed: Buffer): Buffer | undefined {
    if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined
    const decipher = createDecipheriv(CIPHER, this.#key, sealed.subarray(0, NONCE_BYTES))
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
    const body = sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES)
    try {
      return Buffer.concat([decipher.update(body), decipher.final()])
    } catch {
      // Cut off in the middle of a write, or not ours: what follows is no record either.
      return undefined
    }
  }

  #path(segment: number): string {
    return join(this.#directory, `${String(segment).padStart(12, '0')}.events`)
  }
}

function keyOf(path: string, random: Pick<Random, 'hex'>): Buffer {
  if (!existsSync(path)) writeState(path, Buffer.from(random.hex(KEY_BYTES), 'hex'), FOR_OWNER)
  const key = readFileSync(path)
  if (key.length === KEY_BYTES) return key
  throw new PosternError('FILE_UNREADABLE', `${path} holds no key of ${String(KEY_BYTES)} bytes`, {
    path,
  })
}
