const LABEL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const METRIC_NAME = /^[A-Za-z_:][A-Za-z0-9_:]*$/
const ESCAPES: Readonly<Record<string, string>> = {
  ...{ a: '\u0007', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' },
  ...{ '\\': '\\', "'": "'", '"': '"' },
}
/** After a backslash: one letter, three octal digits, or two, four or eight hexadecimal ones (Go's strconv.Unquote). */
const ESCAPE =
  /\\(?:([abfnrtv\\'"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/g
/** What is special to RE2 outside of classes. */
const SPECIAL = /[\\^$.|?*+()[\]{}]/g
const UNITS_MS = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
}

/** Reads a string literal of PromQL; undefined: its escapes are none. */
export function readString(literal: string): string | undefined {
  // The parser takes one that never ends for one that ends with the text.
  if (literal.length < 2 || !literal.endsWith(literal.charAt(0))) return undefined
  const inner = literal.slice(1, -1)
  if (literal.startsWith('`')) return inner
  const faults: string[] = []
  const text = inner.replaceAll(
    ESCAPE,
    (all: string, letter?: string, octal?: string, hex?: string, four?: string, eight?: string) => {
      if (letter !== undefined) return ESCAPES[letter] ?? ''
      const byte = octal ?? hex
      const code = Number.parseInt(byte ?? four ?? eight ?? '', octal === undefined ? 16 : 8)
      // Bytes that are no characters by themselves would be others in our text.
      if (code <= (byte === undefined ? 0x10ffff : 0x7f)) return String.fromCodePoint(code)
      faults.push(all)
      return ''
    },
  )
  const hasOthers = inner.replaceAll(ESCAPE, '').includes('\\')
  return faults.length > 0 || hasOthers || !text.isWellFormed() ? undefined : text
}

/** Writes a string literal of PromQL. */
export function writeString(text: string): string {
  return JSON.stringify(text)
}

/** A regular expression that matches exactly these texts, or what begins with them where they end with a star. */
export function anyOf(patterns: readonly string[]): string {
  return patterns
    .map((one) =>
      one.endsWith('*')
        ? `${one.slice(0, -1).replace(SPECIAL, '\\$&')}.*`
        : one.replace(SPECIAL, '\\$&'),
    )
    .join('|')
}

/** A regular expression that matches exactly these texts. */
export function exactly(texts: readonly string[]): string {
  return texts.map((one) => one.replace(SPECIAL, '\\$&')).join('|')
}

/** Whether a name is one of some patterns. */
export function isOneOf(name: string, patterns: readonly string[]): boolean {
  return patterns.some((one) =>
    one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one,
  )
}

/** Writes the name of a label where a matcher or a grouping has it. */
export function writeLabel(name: string): string {
  return LABEL_NAME.test(name) ? name : writeString(name)
}

/** Whether a text is the name of a metric that needs no quotes. */
export function isPlainMetric(name: string): boolean {
  return METRIC_NAME.test(name)
}

/** Reads a duration such as 5m or 1h30m, or a number of seconds, in ms; undefined: it is none. */
export function readDuration(text: string): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000
  if (!/^(\d+(ms|[smhdwy]))+$/.test(text)) return undefined
  return [...text.matchAll(/(\d+)(ms|[smhdwy])/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * UNITS_MS[unit as keyof typeof UNITS_MS],
    0,
  )
}
