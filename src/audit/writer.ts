import { closeSync, fsync, fsyncSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { every } from '../base/every.ts'
import type { Logger } from '../base/logger.ts'
import { FOR_OWNER, makeFolder } from '../identity/state-files.ts'
import { auditKey, type AuditKey } from './audit-key.ts'
import { batchHash, batchLine, GENESIS, signCheckpoint, type Checkpoint } from './chain.ts'
import { listSegments, segmentName } from './segments.ts'
import { readTail } from './tail.ts'

const FLUSH_MS = 100
const CHECKPOINT_MS = 60_000
/** What waits in memory while the disk takes nothing; more is lost where calls go on, and is counted. */
const PENDING_BYTES_MAX = 8 * 1024 * 1024
/** So much is written without waiting. */
const FLUSH_BYTES = 256 * 1024

/** How a record is kept. */
export interface RecordSettings {
  readonly directory: string
  /** Nothing younger is ever dropped, in ms. */
  readonly keepMs: number
  /** All files together, in bytes. */
  readonly bytesMax: number
  /** Of one file. */
  readonly segmentBytesMax: number
  readonly segmentAgeMs: number
}

/** The collaborators of `RecordWriter`. */
export interface RecordWriterPorts {
  readonly settings: RecordSettings
  readonly clock: Clock
  readonly logger: Logger
  /** Whose record it is. */
  readonly identity: string
  /** Takes each checkpoint to where it is proven. */
  readonly onCheckpoint: (checkpoint: Checkpoint) => void
}

/** How far a record goes, and whether it can be written. */
export interface RecordReport {
  readonly lines: number
  readonly head: string
  readonly key: string
  readonly failure: string | undefined
  /** Lines that could not be written, and were let go. */
  readonly lost: number
}

/** Appends the lines of a record in batches, each hashed over the one before; nothing of it waits for the disk but the flush. */
export class RecordWriter {
  readonly #ports: RecordWriterPorts
  /** Undefined until the folder was opened. */
  #key: AuditKey | undefined
  #pending: string[] = []
  #pendingBytes = 0
  /** Number of the next line, and of the first in the batch that is open. */
  #next = 1
  #batchFrom = 1
  /** Bytes in the file behind its last batch. */
  #open: Buffer = Buffer.alloc(0)
  #prev = GENESIS
  #file: number | undefined
  #segment = 0
  #segmentBytes = 0
  #segmentSinceMs = 0
  #checkpointAtMs = Number.NEGATIVE_INFINITY
  #checkpointed = ''
  #isUnsynced = false
  #failure: string | undefined
  #lost = 0
  #hasToldGap = false
  #isFlushing = false
  #cancelTimer: CancelTimer | undefined

  constructor(ports: RecordWriterPorts) {
    this.#ports = ports
  }

  start(): void {
    this.flush()
    this.#cancelTimer = every(
      this.#ports.clock,
      () => FLUSH_MS,
      () => {
        this.flush()
      },
    )
  }

  /** Writes what waits, and a last checkpoint. */
  stop(): void {
    this.#cancelTimer?.()
    this.#checkpointAtMs = Number.NEGATIVE_INFINITY
    this.flush()
    if (this.#file === undefined) return
    fsyncSync(this.#file)
    closeSync(this.#file)
    this.#file = undefined
  }

  /** Whether lines can be written, as far as is known; not before the folder was opened. */
  get isWritable(): boolean {
    return this.#key !== undefined && this.#failure === undefined
  }

  /** Adds a line; `rest`: all of it behind its number, which it gets as it is written. */
  add(rest: string): void {
    if (this.#pendingBytes > PENDING_BYTES_MAX) {
      this.#lost++
      return
    }
    this.#pending.push(rest)
    this.#pendingBytes += rest.length
    if (this.#pendingBytes > FLUSH_BYTES && this.isWritable) this.flush()
  }

  report(): RecordReport {
    const lines = this.#next - 1
    const key = this.#key?.id ?? ''
    return { lines, head: this.#prev, key, failure: this.#failure, lost: this.#lost }
  }

  /** Writes what waits as one batch. A disk that takes nothing is tried again at the next. */
  flush(): void {
    if (this.#isFlushing) return
    this.#isFlushing = true
    try {
      const key = this.#ready()
      this.#tellGap()
      if (this.#pending.length > 0) this.#writeBatch()
      this.#checkpoint(key)
      this.#sync()
      if (this.#failure !== undefined)
        this.#ports.logger.info({}, 'the record can be written again')
      this.#failure = undefined
      this.#hasToldGap = false
      this.#lost = 0
    } catch (error) {
      const { code, rawMessage: reason } = asPosternError(error, 'STATE_UNWRITABLE')
      if (this.#failure === undefined)
        this.#ports.logger.error({ code, reason }, 'the record cannot be written')
      this.#failure = reason
    } finally {
      this.#isFlushing = false
    }
  }

  /** Opens the folder, where that has not been done: the record then goes on where it ends. */
  #ready(): AuditKey {
    if (this.#key !== undefined) return this.#key
    const { directory } = this.#ports.settings
    makeFolder(directory)
    const key = auditKey(directory)
    this.#goOn()
    this.#key = key
    return key
  }

  #writeBatch(): void {
    this.#rotateWhenDue()
    this.#retain()
    const from = this.#next
    const text = this.#pending.map((rest, index) => `{"n":${String(from + index)},${rest}`).join('')
    const header = this.#segmentBytes === 0 ? this.#header() : ''
    const lines = Buffer.from(`${header}${text}`)
    const hash = batchHash(this.#prev, Buffer.concat([this.#open, lines]))
    const to = from + this.#pending.length - 1
    const batch = { from: this.#batchFrom, to, prev: this.#prev, hash }
    this.#append(Buffer.concat([lines, Buffer.from(batchLine(batch))]))
    this.#next = to + 1
    this.#pending = []
    this.#pendingBytes = 0
    this.#closed(hash)
  }

  #closed(hash: string): void {
    this.#prev = hash
    this.#open = Buffer.alloc(0)
    this.#batchFrom = this.#next
  }

  #checkpoint(key: AuditKey): void {
    const { clock, onCheckpoint } = this.#ports
    const nowMs = clock.nowMs()
    const isDue = nowMs - this.#checkpointAtMs >= CHECKPOINT_MS
    if (!isDue || this.#prev === this.#checkpointed || this.#prev === GENESIS) return
    const at = new Date(clock.wallMs()).toISOString()
    const said = { n: this.#batchFrom - 1, hash: this.#prev, at }
    const checkpoint = signCheckpoint(said, key.privateKey, key.id)
    const line = Buffer.from(`${JSON.stringify({ checkpoint })}\n`)
    this.#append(line)
    this.#open = Buffer.concat([this.#open, line])
    this.#checkpointAtMs = nowMs
    this.#checkpointed = this.#prev
    onCheckpoint(checkpoint)
  }

  /** All of it or nothing: a piece that was written of it is taken back. */
  #append(bytes: Buffer): void {
    const file = this.#opened()
    try {
      let done = 0
      while (done < bytes.length) done += writeSync(file, bytes, done)
    } catch (error) {
      ftruncateSync(file, this.#segmentBytes)
      throw error
    }
    this.#segmentBytes += bytes.length
    this.#isUnsynced = true
  }

  #sync(): void {
    if (!this.#isUnsynced || this.#file === undefined) return
    this.#isUnsynced = false
    // The next flush tells of a disk that fails.
    fsync(this.#file, () => undefined)
  }

  #opened(): number {
    this.#file ??= openSync(this.#path(this.#segment), 'a', FOR_OWNER)
    return this.#file
  }

  #path(segment: number): string {
    return join(this.#ports.settings.directory, segmentName(segment))
  }

  #rotateWhenDue(): void {
    const { segmentBytesMax, segmentAgeMs } = this.#ports.settings
    const nowMs = this.#ports.clock.wallMs()
    const isFull = this.#segmentBytes + this.#pendingBytes > segmentBytesMax
    const isOld = nowMs - this.#segmentSinceMs >= segmentAgeMs
    if (this.#segment > 0 && (this.#segmentBytes === 0 || !(isFull || isOld))) return
    this.#closeFile()
    this.#segment++
    this.#segmentBytes = 0
    this.#segmentSinceMs = nowMs
  }

  /** A file ends with a batch, so that the next begins from its hash. */
  #closeFile(): void {
    if (this.#open.length > 0) {
      const hash = batchHash(this.#prev, this.#open)
      const from = this.#batchFrom
      this.#append(Buffer.from(batchLine({ from, to: from - 1, prev: this.#prev, hash })))
      const next = this.#batchFrom
      this.#closed(hash)
      this.#batchFrom = next
    }
    if (this.#file === undefined) return
    fsyncSync(this.#file)
    closeSync(this.#file)
    this.#file = undefined
  }

  /** The first line of a file: what it goes on from, whose it is, and the key of its checkpoints. */
  #header(): string {
    const spki = this.#key?.publicKey.export({ type: 'spki', format: 'der' })
    const key = spki?.toString('base64') ?? ''
    const { identity } = this.#ports
    const facts = { number: this.#segment, n: this.#batchFrom, prev: this.#prev, identity, key }
    return `${JSON.stringify({ segment: facts })}\n`
  }

  /** Drops the oldest files where there are too many bytes, and none that is younger than it is to be kept. */
  #retain(): void {
    const { directory, bytesMax, keepMs } = this.#ports.settings
    const segments = listSegments(directory)
    let total = segments.reduce((sum, { bytes }) => sum + bytes, this.#pendingBytes)
    const nowMs = this.#ports.clock.wallMs()
    for (const { number, path, bytes, writtenAtMs } of segments) {
      if (total <= bytesMax || number === this.#segment || nowMs - writtenAtMs < keepMs) break
      rmSync(path)
      total -= bytes
      this.#event({ event: 'dropped', segment: number })
    }
    if (total > bytesMax) {
      const text = `it has the ${String(bytesMax)} bytes that it may have (audit.max), and nothing in it is older than audit.keep`
      throw new PosternError('STATE_UNWRITABLE', text)
    }
  }

  /** After a time in which nothing could be written the record says so, whether or not a line waits. */
  #tellGap(): void {
    if (this.#failure === undefined || this.#hasToldGap) return
    this.#hasToldGap = true
    this.#event({ event: 'resumed', lost: this.#lost })
  }

  #event(facts: object): void {
    const at = new Date(this.#ports.clock.wallMs()).toISOString()
    this.add(`${JSON.stringify({ at, ...facts }).slice(1)}\n`)
  }

  /** Goes on where the record ends: after a restart, a crash within a line, or from the beginning. */
  #goOn(): void {
    const segments = listSegments(this.#ports.settings.directory)
    const last = segments.at(-1)
    if (last === undefined) return
    const tail = readTail(last.path)
    this.#segment = last.number
    this.#segmentSinceMs = last.writtenAtMs
    this.#segmentBytes = tail.wholeBytes
    this.#prev = tail.prev
    this.#open = tail.open
    // A checkpoint behind the last batch is of it.
    if (tail.open.includes('{"checkpoint":')) this.#checkpointed = tail.prev
    this.#next = (tail.n ?? 0) + 1
    this.#batchFrom = this.#next - tail.openCount
    if (tail.wholeBytes === tail.bytes) return
    const file = openSync(last.path, 'r+')
    ftruncateSync(file, tail.wholeBytes)
    closeSync(file)
    this.#event({ event: 'torn', bytes: tail.bytes - tail.wholeBytes })
  }
}
