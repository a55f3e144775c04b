import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type { TailResponse_LineSchema } from '../../gen/postern/dataplane/v1/logs_pb.js'
import { cutText } from '../../base/cut-text.ts'
import { AHEAD_BYTES, type LogLine } from '../log-lines.ts'
import type { TailWish } from '../log-source.ts'
import { timeOf, type Re2Pattern, type Redactor } from './line-rules.ts'

type Line = MessageInitShape<typeof TailResponse_LineSchema>

/** What is done to each line. */
export interface LineRules {
  readonly redactor: Redactor
  readonly filter: Re2Pattern | undefined
  readonly lineBytesMax: number
}

/** Lines that are told, and how many of those that came are done with. */
export interface Picked {
  readonly lines: Line[]
  readonly count: number
}

/** Picks the lines that a caller wants to see, and is allowed to see. */
export class Picking {
  readonly #sinceMs: number
  readonly #untilMs: number
  readonly #limit: number
  readonly #lineBytesMax: number
  readonly #redactor: Redactor
  readonly #filter: Re2Pattern | undefined
  #told = 0
  #lastMs: number | undefined
  hasEnded = false

  constructor(
    { sinceMs, untilMs }: Pick<TailWish, 'sinceMs' | 'untilMs'>,
    limit: bigint,
    { redactor, filter, lineBytesMax }: LineRules,
  ) {
    this.#lineBytesMax = lineBytesMax
    this.#sinceMs = sinceMs ?? Number.NEGATIVE_INFINITY
    this.#untilMs = untilMs ?? Infinity
    this.#limit = limit === 0n ? Infinity : Number(limit)
    this.#redactor = redactor
    this.#filter = filter
  }

  pick(lines: readonly LogLine[]): Picked {
    const picked: Line[] = []
    for (const [index, line] of lines.entries()) {
      const ownMs = line.timeMs ?? timeOf(line.text)
      this.#lastMs = ownMs ?? this.#lastMs
      const atMs = this.#lastMs
      if (atMs !== undefined && atMs >= this.#untilMs) {
        this.hasEnded = true
        return { lines: picked, count: index }
      }
      if (atMs !== undefined && atMs < this.#sinceMs) continue
      // What is redacted cannot be found out by a filter.
      const { text: whole, count } = this.#redactor.redact(line.text)
      const text = this.#cut(line, whole)
      if (this.#filter?.matcher(text).find() === false) continue
      const time = ownMs === undefined ? {} : { time: timestampFromMs(ownMs) }
      picked.push({ ...time, text, cut: text !== whole, redacted: count })
      if (++this.#told < this.#limit) continue
      this.hasEnded = true
      return { lines: picked, count: index + 1 }
    }
    return { lines: picked, count: lines.length }
  }

  /** What lies across the end of what was read no rule would know: it is withheld. */
  #cut({ isCut }: LogLine, told: string): string {
    const known = isCut ? cutText(told, Buffer.byteLength(told) - AHEAD_BYTES) : told
    return cutText(known, this.#lineBytesMax)
  }
}
