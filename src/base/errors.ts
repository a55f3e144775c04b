import { ERROR_CODES, type ErrorCode, type Recovery } from './error-codes.ts'

export type { ErrorCode, Recovery }

/** Facts of an error, for the log. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean>>

/**
 * Every failure that this program reports to a person, a log or a peer. Failures of calls are
 * `RpcError`, with gRPC's status codes; our own bugs are assertions and never come here.
 */
export class PosternError extends Error {
  override readonly name = 'PosternError'
  readonly code: ErrorCode
  /** What happened, without the code in front. */
  readonly rawMessage: string
  /** Facts for the log. Never a key, a token or payload bytes. */
  readonly facts: ErrorFacts

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}, options?: ErrorOptions) {
    super(`[${code}] ${message}`, options)
    this.code = code
    this.rawMessage = message
    this.facts = facts
  }

  get recovery(): Recovery {
    return ERROR_CODES[this.code].recovery
  }
}

/** The error itself if it is ours, or an INTERNAL one around it. */
export function asPosternError(error: unknown, code: ErrorCode = 'INTERNAL'): PosternError {
  if (error instanceof PosternError) return error
  // Of another class that carries one of our codes, such as RpcError, the code and its recovery are kept.
  const known = knownOf(error)
  if (known !== undefined)
    return new PosternError(known.code, known.rawMessage, {}, { cause: error })
  const message = error instanceof Error ? error.message : String(error)
  return new PosternError(code, message, {}, { cause: error })
}

function knownOf(error: unknown): { code: ErrorCode; rawMessage: string } | undefined {
  if (!(error instanceof Error)) return undefined
  const { code, rawMessage } = error as { code?: unknown; rawMessage?: unknown }
  if (typeof code !== 'string' || typeof rawMessage !== 'string') return undefined
  return Object.hasOwn(ERROR_CODES, code) ? { code: code as ErrorCode, rawMessage } : undefined
}

/** Text that came from outside, fit for one line of a log or a terminal. */
export function printable(text: string, charsMax = 200): string {
  const cut = text.length > charsMax ? `${text.slice(0, charsMax)}…` : text
  return cut.replace(UNSEEN, '?')
}

/** The same text with what a terminal would obey, or nobody would see, written as \\uXXXX, as JSON has it; lines stay. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (unseen) =>
    unseen === '\n' || unseen === '\t'
      ? unseen
      : [...Array(unseen.length).keys()]
          .map((i) => `\\u${unseen.charCodeAt(i).toString(16).padStart(4, '0')}`)
          .join(''),
  )
}

/** Controls (C0, C1), marks of format and direction, line and paragraph ends, halves of pairs, and what shows as nothing. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{DI}\p{Zl}\p{Zp}\p{Cs}]/gu
