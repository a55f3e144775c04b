import { ERROR_CODES, type ErrorCode } from './error-codes.ts'
import { PosternError } from './errors.ts'

/** What the daemon answered. @throws its error, DAEMON_NOT_RUNNING when it is no answer */
export function parseAnswer(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const message = 'what answers on the socket is no daemon of ours'
    throw new PosternError('DAEMON_NOT_RUNNING', message, {}, { cause: error })
  }
  const { error } = value as { error?: { code: string; message: string } }
  if (error === undefined) return value
  const code = Object.hasOwn(ERROR_CODES, error.code) ? (error.code as ErrorCode) : 'INTERNAL'
  throw new PosternError(code, error.message)
}
