import type { LogLine } from './log-lines.ts'

/** Lines of a log, or something that stands between lines. */
export type LogStep =
  | {
      readonly kind: 'lines'
      readonly lines: readonly LogLine[]
      /** The cursor behind the first so many of them. */
      readonly cursorBehind: (count: number) => string
    }
  | { readonly kind: 'gap' | 'dropped'; readonly bytes: number; readonly cursor: string }

/** What is asked of a log. Times are in wall-clock ms; undefined: no bound. */
export interface TailWish {
  /** Values of the labels that say which log of the source it is. */
  readonly labels: Readonly<Record<string, string>>
  /** Empty: from `sinceMs`, the last lines or the beginning. */
  readonly cursor: string
  readonly sinceMs: number | undefined
  readonly untilMs: number | undefined
  /** 0: all. */
  readonly last: number
  readonly follow: boolean
  /** Lines are left out and counted where the caller is slow. */
  readonly drop: boolean
  readonly signal: AbortSignal
}

/** One row of `logs`, open. What it reads it reads no faster than it is asked to. */
export interface LogSource {
  /** Whether it leaves lines out by itself where that is asked for: it need not read them. */
  readonly dropsItself: boolean
  /** @throws RpcError LOG_UNKNOWN, CURSOR_INVALID, QUERY_REFUSED, and what a backend throws */
  tail(wish: TailWish): AsyncIterable<LogStep>
}
