import type { Redaction } from '../logs-row.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'

const FILTER_MAX = 256
/** Steps that each character of a line may take: a short expression can stand for a program without end. */
const PROGRAM_MAX = 500

/** What of re2js is used: expressions that take time in proportion to the text, whatever they are. */
export interface Re2 {
  compile(pattern: string): Re2Pattern
}

/** A compiled expression. */
export interface Re2Pattern {
  programSize(): number
  matcher(text: string): {
    find(): boolean
    replaceAll(replacement: (...parts: string[]) => string): string
  }
}

/** Compiles the filter of a caller; undefined: none. @throws RpcError QUERY_REFUSED */
export function compileFilter(re2: Re2, filter: string): Re2Pattern | undefined {
  if (filter === '') return undefined
  if (Buffer.byteLength(filter) > FILTER_MAX)
    throw rpcErrorOfCode('QUERY_REFUSED', `the filter has over ${String(FILTER_MAX)} bytes`)
  const pattern = compiled(re2, filter)
  if (pattern.programSize() > PROGRAM_MAX)
    throw rpcErrorOfCode('QUERY_REFUSED', 'the filter says too much: count fewer times')
  return pattern
}

function compiled(re2: Re2, filter: string): Re2Pattern {
  try {
    return re2.compile(filter)
  } catch {
    // Its own words hold the filter, which the caller knows.
    throw rpcErrorOfCode('QUERY_REFUSED', 'the filter is no regular expression of RE2')
  }
}

/** The customer's rules on what no line may say. */
export class Redactor {
  readonly #rules: readonly { readonly pattern: Re2Pattern; readonly replacement: string }[]

  constructor(re2: Re2, redact: readonly Redaction[]) {
    this.#rules = redact.map(({ pattern, replacement }) => ({
      pattern: re2.compile(pattern),
      replacement,
    }))
  }

  /** Returns a line as it may be told, and how many places of it were redacted. */
  redact(text: string): { readonly text: string; readonly count: number } {
    let [told, count] = [text, 0]
    for (const { pattern, replacement } of this.#rules)
      told = pattern.matcher(told).replaceAll(() => {
        count++
        return replacement
      })
    return { text: told, count }
  }
}

/** The time that a line begins with (RFC 3339), in wall-clock ms; undefined: it has none. */
export function timeOf(text: string): number | undefined {
  const found = /^\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d))/.exec(
    text,
  )?.[1]
  const ms = found === undefined ? NaN : Date.parse(found.replace(' ', 'T').replace(',', '.'))
  return Number.isNaN(ms) ? undefined : ms
}
