import {
  close,
  closeSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  openSync,
  rmSync,
  writeSync,
  writevSync,
} from 'node:fs'
import { join } from 'node:path'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { every } from '../base/every.ts'
import type { Logger } from '../base/logger.ts'
import { attempt, FOR_OWNER, makeFolder } from '../identity/state-files.ts'
import { auditKey, type AuditKey } from './audit-key.ts'
import { batchHash, batchLine, GENESIS, signCheckpoint, type Checkpoint } from './chain.ts'
import type { LineParts } from './line.ts'
import { installNextKey, keyChange, nextKey } from './key-change.ts'
import { LineBuffer } from './line-buffer.ts'
import type { RecordReport, RecordSettings } from './record-report.ts'
import { listSegments, segmentName } from './segments.ts'
import { readTail } from './tail.ts'

const FLUSH_MS = 100
const CHECKPOINT_MS = 60_000
/** What waits in memory while the disk takes nothing; more is lost where calls go on, and is counted. */
const PENDING_BYTES_MAX = 8 * 1024 * 1024
/** Lines from before the folder was opened; there are few, as nothing crosses then. */
const EARLY_MAX = 10_000
const SYNC_MS = 10_000
const KEY_LOOK_MS = 1000
/** How old what is known of the older files may be. */
const LOOK_MS = 60_000
const NONE = Buffer.alloc(0)
/** So much is written without waiting. */
const FLUSH_BYTES = 256 * 1024

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

/** Appends the lines of a record in batches, each hashed over the one before; nothing of it waits for the disk but the flush. */
export class RecordWriter {
  readonly #ports: RecordWriterPorts
  /** Undefined until the folder was opened. */
  #key: AuditKey | undefined
  /** Lines that wait, with their numbers; and those from before the folder was opened, without. */
  readonly #pending = new LineBuffer()
  readonly #early: string[] = []
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
  #syncedAtMs = Number.NEGATIVE_INFINITY
  #keyLookedAtMs = Number.NEGATIVE_INFINITY
  /** Of the files before the present one. */
  #olderBytes = 0
  #lookedAtMs = Number.NEGATIVE_INFINITY
  /** Bytes of files that are too young to be dropped, when it was last looked. */
  #heldBytes = 0
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

  /** Adds a line; `rest`: all of it behind its number. */
  add(rest: string): void {
    if (this.#pending.length > PENDING_BYTES_MAX) {
      this.#lost++
      return
    }
    if (this.#key === undefined) {
      this.#early.push(rest)
      if (this.#early.length > EARLY_MAX) this.#early.shift()
      return
    }
    this.#pending.add(`{"n":${String(this.#next++)},${rest}`)
    if (this.#pending.length > FLUSH_BYTES && this.#failure === undefined) this.flush()
  }

  /** `add`, for the lines that there are most of. */
  addParts({ head, facts }: LineParts): void {
    if (this.#key === undefined || this.#pending.length > PENDING_BYTES_MAX) {
      this.add(`${head}${facts.toString()}`)
      return
    }
    this.#pending.addParts(`{"n":${String(this.#next++)},${head}`, facts)
    if (this.#pending.length > FLUSH_BYTES && this.#failure === undefined) this.flush()
  }

  report(): RecordReport {
    const lines = this.#next - 1
    const key = this.#key?.id ?? ''
    const heldShare = this.#heldBytes / this.#ports.settings.bytesMax
    return { lines, head: this.#prev, key, failure: this.#failure, lost: this.#lost, heldShare }
  }

  /** Writes what waits as one batch. A disk that takes nothing is tried again at the next. */
  flush(): void {
    if (this.#isFlushing) return
    this.#isFlushing = true
    try {
      attempt(this.#ports.settings.directory, () => {
        const key = this.#ready()
        this.#tellGap()
        if (this.#pending.length > 0) this.#writeBatch()
        this.#checkpoint(key)
        this.#changeKey(key)
        this.#sync()
      })
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
    for (const rest of this.#early.splice(0)) this.add(rest)
    return key
  }

  /** Another key that waits signs from here on: a line of the one before says so, and its last checkpoint covers that. */
  #changeKey(now: AuditKey): void {
    const { directory } = this.#ports.settings
    const nowMs = this.#ports.clock.nowMs()
    if (nowMs - this.#keyLookedAtMs < KEY_LOOK_MS) return
    this.#keyLookedAtMs = nowMs
    const next = nextKey(directory, this.#ports.logger)
    if (next === undefined) return
    this.#event(keyChange(now, next))
    this.#writeBatch()
    this.#checkpointAtMs = Number.NEGATIVE_INFINITY
    this.#checkpoint(now)
    installNextKey(directory, now, next)
    this.#key = next
  }

  #writeBatch(): void {
    this.#rotateWhenDue()
    this.#retain()
    const header = this.#segmentBytes === 0 ? Buffer.from(this.#header()) : NONE
    const lines = this.#pending.bytes
    const open = header.length === 0 ? this.#open : Buffer.concat([this.#open, header])
    const hash = batchHash(this.#prev, open, lines)
    const batch = { from: this.#batchFrom, to: this.#next - 1, prev: this.#prev, hash }
    this.#append([header, lines, Buffer.from(batchLine(batch))])
    this.#pending.clear()
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
    this.#append([line])
    this.#open = Buffer.concat([this.#open, line])
    this.#checkpointAtMs = nowMs
    this.#checkpointed = this.#prev
    onCheckpoint(checkpoint)
  }

  /** All of it or nothing: a piece that was written of it is taken back. */
  #append(pieces: readonly Buffer[]): void {
    const file = this.#opened()
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    try {
      const done = writevSync(file, pieces)
      // What the kernel took only a part of is rare: the rest is written as one.
      if (done < bytes) writeRest(file, Buffer.concat(pieces).subarray(done))
    } catch (error) {
      ftruncateSync(file, this.#segmentBytes)
      throw error
    }
    this.#segmentBytes += bytes
    this.#isUnsynced = true
  }

  #sync(): void {
    const nowMs = this.#ports.clock.nowMs()
    if (!this.#isUnsynced || this.#file === undefined || nowMs - this.#syncedAtMs < SYNC_MS) return
    this.#isUnsynced = false
    this.#syncedAtMs = nowMs
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
    const isFull = this.#segmentBytes + this.#pending.length > segmentBytesMax
    const isOld = nowMs - this.#segmentSinceMs >= segmentAgeMs
    if (this.#segment > 0 && (this.#segmentBytes === 0 || !(isFull || isOld))) return
    this.#closeFile()
    this.#segment++
    this.#segmentBytes = 0
    this.#segmentSinceMs = nowMs
    this.#lookedAtMs = Number.NEGATIVE_INFINITY
  }

  /** A file ends with a checkpoint and a batch: the next begins from its hash, and each is signed however soon it is dropped. */
  #closeFile(): void {
    if (this.#key !== undefined && this.#file !== undefined) {
      this.#checkpointAtMs = Number.NEGATIVE_INFINITY
      this.#checkpoint(this.#key)
    }
    if (this.#open.length > 0) {
      const hash = batchHash(this.#prev, this.#open, NONE)
      const from = this.#batchFrom
      this.#append([Buffer.from(batchLine({ from, to: from - 1, prev: this.#prev, hash }))])
      const next = this.#batchFrom
      this.#closed(hash)
      this.#batchFrom = next
    }
    const file = this.#file
    if (file === undefined) return
    this.#file = undefined
    // Nobody waits for a disk.
    fsync(file, () => {
      close(file, () => undefined)
    })
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
    const now = this.#segmentBytes + this.#pending.length
    const { clock } = this.#ports
    const isLookedAt = clock.nowMs() - this.#lookedAtMs < LOOK_MS
    if (isLookedAt && this.#olderBytes + now <= bytesMax) return
    this.#lookedAtMs = clock.nowMs()
    const nowMs = clock.wallMs()
    const older = listSegments(directory).filter(({ number }) => number !== this.#segment)
    let bytes = older.reduce((sum, segment) => sum + segment.bytes, 0)
    for (const segment of older) {
      if (bytes + now <= bytesMax || nowMs - segment.writtenAtMs < keepMs) break
      rmSync(segment.path)
      bytes -= segment.bytes
      this.#event({ event: 'dropped', segment: segment.number })
    }
    this.#olderBytes = bytes
    const young = older.filter(({ writtenAtMs }) => nowMs - writtenAtMs < keepMs)
    this.#heldBytes = young.reduce((sum, segment) => sum + segment.bytes, now)
    if (bytes + now > bytesMax) {
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

function writeRest(file: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done)
}
