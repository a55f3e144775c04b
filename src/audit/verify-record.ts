import { isUtf8 } from 'node:buffer'
import { createHash, createPublicKey, type Hash, type KeyObject } from 'node:crypto'
import { isSignedBy, keyId, type Batch, type Checkpoint } from './chain.ts'
import { keyThatFollows } from './key-change.ts'
import type { PlacedLine } from './read-record.ts'
import { batchOf, headerOf } from './tail.ts'

const FINDINGS_MAX = 100
/** A checkpoint is written every minute where there is news: what goes on for longer behind one was not signed. */
const UNSIGNED_MS_MAX = 120_000
/** Every line of ours begins so, and has nothing else of these. */
const FORM = /^\{"(?:(n)":([1-9]\d{0,15}),|(?:batch|checkpoint|segment)":\{)/

/** Something that is not as a record would have it, and where. */
export interface Finding {
  readonly file: string
  readonly line: number
  readonly text: string
}

/** What is known of a record beside its files. */
export interface Known {
  /** Keys that its owner vouches for; none: those that the files name are taken, which proves less. */
  readonly keys: readonly KeyObject[]
  /** Checkpoints that were kept elsewhere. */
  readonly anchors: readonly Checkpoint[]
}

/** What became of looking at a record. */
export interface Verified {
  readonly findings: readonly Finding[]
  readonly lines: number
  /** Numbers of the first and the last line. */
  readonly first: number
  readonly last: number
  /** Hash of the last batch. */
  readonly head: string
  readonly checkpoints: number
  /** The last line that a signed checkpoint covers, and one that was kept elsewhere. */
  readonly signedTo: number
  readonly anchoredTo: number
  /** Key identifiers of checkpoints, in order. */
  readonly keys: readonly string[]
}

/** Looks at every line of a record: whether any was removed, altered, moved, cut off or doubled, and where. */
export class RecordVerifier {
  readonly #known: Known
  readonly #keys = new Map<string, KeyObject>()
  readonly #usedKeys: string[] = []
  readonly #findings: Finding[] = []
  readonly #anchors: ReadonlyMap<string, Checkpoint>
  /** The last lines of the batches that anchors name, by the hash. */
  readonly #anchored = new Map<string, number>()
  /** Files that the record says it has dropped. */
  readonly #dropped = new Set<number>()
  #segment: number | undefined
  #firstSegment: number | undefined
  /** Lines other than checkpoints stand behind the last batch. */
  #isOpen = false
  /** Of the batch that is open. */
  #hash: Hash | undefined
  #prev: string | undefined
  #batchFrom: number | undefined
  #first: number | undefined
  #last = 0
  #lines = 0
  #checkpoints = 0
  #checkpointed: string | undefined
  #signedTo = 0
  #signedAtMs = Number.NEGATIVE_INFINITY
  #lastAtMs = Number.NEGATIVE_INFINITY
  #place: { file: string; line: number } = { file: '', line: 0 }

  constructor(known: Known) {
    this.#known = known
    for (const key of known.keys) this.#keys.set(keyId(key), key)
    this.#anchors = new Map(known.anchors.map((one) => [one.hash, one]))
  }

  /** Looks at the next line. */
  add({ segment, line, bytes, isWhole }: PlacedLine): void {
    this.#place = { file: segment.name, line }
    if (segment.number !== this.#segment) this.#enter(segment.number, bytes)
    if (!isWhole) {
      this.#find('the line is cut off: it does not end')
      return
    }
    const text = bytes.toString()
    const form = isUtf8(bytes) ? FORM.exec(text) : null
    const batch = form === null ? undefined : batchOf(text)
    if (batch !== undefined) {
      this.#endBatch(batch)
      return
    }
    this.#hash ??= createHash('sha256').update(`${this.#prev ?? ''}\n`)
    this.#hash.update(bytes).update('\n')
    if (!text.startsWith('{"checkpoint":')) this.#isOpen = true
    if (form === null) this.#find('the line is none of a record')
    else this.#look(text, form[2])
  }

  /** Ends the look, and says what was found. */
  end(): Verified {
    if (this.#isOpen)
      this.#find('the record ends within a batch: what follows its last batch is not proven')
    this.#place = { file: '', line: 0 }
    // Those before it were dropped by files that have been dropped themselves.
    const first = this.#firstSegment ?? 1
    if (first > 1 && !this.#dropped.has(first - 1))
      this.#find(
        `the files before number ${String(first)} are missing, and the record does not say that it dropped them`,
      )
    if (this.#lines === 0) this.#find('it has no line')
    else if (this.#signedTo === 0)
      this.#find('no line of it is signed: it has no checkpoint that is in order')
    else if (this.#lastAtMs - this.#signedAtMs > UNSIGNED_MS_MAX)
      this.#find(
        `lines ${String(this.#signedTo + 1)} to ${String(this.#last)} go on for over two minutes and no checkpoint signs them`,
      )
    const anchoredTo = this.#judgeAnchors()
    return {
      findings: this.#findings,
      lines: this.#lines,
      first: this.#first ?? 0,
      last: this.#last,
      head: this.#prev ?? '',
      checkpoints: this.#checkpoints,
      signedTo: this.#signedTo,
      anchoredTo,
      keys: this.#usedKeys,
    }
  }

  /** Anchors count where the audit key has signed them. Returns the last line that one covers. */
  #judgeAnchors(): number {
    let anchoredTo = 0
    for (const anchor of this.#anchors.values()) {
      const { n, hash, key } = anchor
      const publicKey = this.#keys.get(key)
      const last = this.#anchored.get(hash)
      if (publicKey === undefined || !isWholeCheckpoint(anchor) || !isSignedBy(anchor, publicKey))
        this.#find(`an anchor for line ${String(n)} is signed by no key of the record`)
      else if (last === n) anchoredTo = Math.max(anchoredTo, n)
      else if (last !== undefined || n >= (this.#first ?? 0))
        this.#find(
          `an anchor covers line ${String(n)} by a batch that is not in the record: it was cut off, or written anew`,
        )
    }
    return anchoredTo
  }

  #enter(number: number, bytes: Buffer): void {
    const header = headerOf(bytes.toString())
    const before = this.#segment
    this.#segment = number
    this.#firstSegment ??= number
    if (header === undefined) {
      this.#find('the file does not begin with what it goes on from')
      return
    }
    if (header.number !== number)
      this.#find(`the file says that it is number ${String(header.number)}`)
    if (before !== undefined && number !== before + 1)
      this.#find(`the files between number ${String(before)} and ${String(number)} are missing`)
    if (before === undefined) {
      this.#prev = header.prev
      this.#last = header.n - 1
    } else if (header.prev !== this.#prev)
      this.#find('the file does not go on from the one before: lines are missing between them')
    this.#knowKey(header.key)
  }

  #knowKey(base64: string): void {
    if (this.#known.keys.length > 0) return
    try {
      const key = createPublicKey({
        key: Buffer.from(base64, 'base64'),
        format: 'der',
        type: 'spki',
      })
      this.#keys.set(keyId(key), key)
    } catch {
      // What is no key signs nothing.
      this.#find('the key that the file names is no key')
    }
  }

  #endBatch({ from, to, prev, hash }: Batch): void {
    const made = (this.#hash ?? createHash('sha256').update(`${this.#prev ?? ''}\n`)).digest('hex')
    if (prev !== this.#prev)
      this.#find(
        'the batch does not go on from the one before: lines are missing, or stand twice, or elsewhere',
      )
    else if (made !== hash)
      this.#find(
        `lines ${String(from)} to ${String(to)}, or what stands between, were altered, removed or added`,
      )
    const first = this.#batchFrom ?? this.#last + 1
    if (from !== first)
      this.#find(`the batch begins with line ${String(from)}, its first is ${String(first)}`)
    if (to !== this.#last)
      this.#find(
        `the batch ends with line ${String(to)}, the one before it is ${String(this.#last)}`,
      )
    // What follows is judged by what this batch says, so that one fault is not found a hundred times.
    this.#prev = hash
    this.#hash = undefined
    this.#batchFrom = undefined
    this.#isOpen = false
    if (this.#anchors.has(hash)) this.#anchored.set(hash, to)
  }

  /** `n`: its number, as it stands at its beginning; undefined: it has none. */
  #look(text: string, n: string | undefined): void {
    const value = objectOf(text)
    const isAlone = n !== undefined || Object.keys(value ?? {}).length === 1
    if (value === undefined || !isAlone || (n !== undefined && value.n !== Number(n))) {
      this.#find('the line cannot be read')
      return
    }
    if (n === undefined) {
      if ('checkpoint' in value) this.#checkpoint(value.checkpoint as Partial<Checkpoint>)
      else if (!('segment' in value)) this.#find('the line is no batch')
      return
    }
    this.#numbered(value as Numbered)
  }

  #numbered(value: Numbered): void {
    if (value.event === 'dropped' && typeof value.segment === 'number')
      this.#dropped.add(value.segment)
    if (value.event === 'key') this.#follow(value)
    if (typeof value.at === 'string')
      this.#lastAtMs = Math.max(this.#lastAtMs, Date.parse(value.at))
    this.#lines++
    this.#first ??= value.n
    this.#batchFrom ??= value.n
    if (value.n !== this.#last + 1)
      this.#find(
        `line ${String(value.n)} follows line ${String(this.#last)}: lines are missing, moved or doubled`,
      )
    this.#last = value.n
  }

  /** Another key signs from here on, by the word of one that is known. */
  #follow(value: Numbered): void {
    const key = keyThatFollows(value, this.#keys)
    if (key === undefined) this.#find('the key that follows is signed by no key of the record')
    else this.#keys.set(keyId(key), key)
  }

  #checkpoint(said: Partial<Checkpoint>): void {
    if (!isWholeCheckpoint(said)) {
      this.#find('the checkpoint is not whole')
      return
    }
    const checkpoint = said as Checkpoint
    const { n, hash, key } = checkpoint
    const publicKey = this.#keys.get(key)
    if (publicKey === undefined)
      this.#find('the checkpoint is by a key that its owner does not vouch for')
    else if (!isSignedBy(checkpoint, publicKey))
      this.#find('the signature of the checkpoint is wrong')
    else if (hash !== this.#prev || n !== this.#last)
      this.#find('the checkpoint is of other lines than those before it')
    else if (hash === this.#checkpointed) this.#find('the checkpoint stands twice')
    else {
      this.#signedTo = n
      this.#signedAtMs = Date.parse(checkpoint.at)
    }
    this.#checkpointed = hash
    this.#checkpoints++
    if (this.#usedKeys.at(-1) !== key) this.#usedKeys.push(key)
  }

  #find(text: string): void {
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push({ ...this.#place, text })
  }
}

/** A line with a number. */
interface Numbered extends Readonly<Record<string, unknown>> {
  readonly n: number
}

function isWholeCheckpoint({ n, hash, at, key, signature }: Partial<Checkpoint>): boolean {
  return typeof n === 'number' && [hash, at, key, signature].every((one) => typeof one === 'string')
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    // It is told as any other that is no line of ours.
    return undefined
  }
}
