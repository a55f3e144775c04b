import { printable } from '../../base/errors.ts'

const LINE_CHARS_MAX = 16 * 1024
const TEXT_CHARS_MAX = 300

/** A line that cloudflared wrote. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'plain'
  /** Fit for a log: one line, cut. */
  readonly text: string
  readonly connIndex: number | undefined
  /** Where the edge is, such as lis01. */
  readonly location: string | undefined
  readonly protocol: string | undefined
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const

/** Cuts what a program writes into lines. A line that does not end is cut. */
export class LineCutter {
  readonly #onLine: (text: string) => void
  #rest = ''

  constructor(onLine: (text: string) => void) {
    this.#onLine = onLine
  }

  add(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n')
    this.#rest = (lines.pop() ?? '').slice(0, LINE_CHARS_MAX)
    for (const line of lines) if (line.trim() !== '') this.#onLine(line.slice(0, LINE_CHARS_MAX))
  }
}

/** Reads a line: JSON as cloudflared writes it, or whatever else a program says before or after that. */
export function readLine(line: string): LogLine {
  const value = objectOf(line)
  const text = (key: string): string | undefined => {
    const found = value?.[key]
    return typeof found === 'string' ? printable(found, TEXT_CHARS_MAX) : undefined
  }
  const error = text('error')
  const message = text('message') ?? error
  if (message === undefined) {
    const none = { connIndex: undefined, location: undefined, protocol: undefined }
    return { level: 'plain', text: printable(line, TEXT_CHARS_MAX), ...none }
  }
  const { connIndex } = value ?? {}
  return {
    level: LEVELS.find((level) => level === value?.level) ?? 'error',
    text: error === undefined || error === message ? message : `${message}: ${error}`,
    connIndex: typeof connIndex === 'number' ? connIndex : undefined,
    location: text('location'),
    protocol: text('protocol'),
  }
}

function objectOf(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Readonly<Record<string, unknown>>) : undefined
  } catch {
    // Some of its lines are plain text, such as the last before an exit.
    return undefined
  }
}
