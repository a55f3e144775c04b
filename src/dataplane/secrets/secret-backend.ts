import { PosternError } from '../../base/errors.ts'
import type { BackendAnswer } from '../../transport/ask-backend.ts'
import type { Scope, SecretEntry, SecretPath } from './secret-path.ts'

/** So many are listed in one answer. */
export const LISTED_MAX = 2000

/** A backend for secrets, which writes, deletes and lists, and reads no value. */
export interface SecretBackend {
  /** The names that it takes, and how that is said. */
  readonly name: RegExp
  readonly nameForm: string
  /** What it calls a secret, and how long that may be. */
  id(path: SecretPath): string
  readonly idMax: number
  /** Writes a value, which is wiped afterwards by whoever gives it. Returns the version. */
  put(path: SecretPath, value: Buffer, signal: AbortSignal): Promise<string>
  /** False: there was none. */
  delete(path: SecretPath, signal: AbortSignal): Promise<boolean>
  /** Those of a scope, and of those within it. */
  list(scope: Scope, signal: AbortSignal): Promise<readonly SecretEntry[]>
}

/** Decodes the JSON of an answer of success. @throws CREDENTIALS_MISSING, BACKEND_REFUSED with the status alone */
export function succeeded({ status, body }: BackendAnswer): Readonly<Record<string, unknown>> {
  if (status === 401 || status === 403)
    throw new PosternError('CREDENTIALS_MISSING', `status ${String(status)}`)
  if (status < 200 || status > 299)
    throw new PosternError('BACKEND_REFUSED', `status ${String(status)}`)
  return objectOf(body.length === 0 ? '{}' : body.toString())
}

/** Decodes a JSON object. @throws BACKEND_REFUSED */
export function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // As any other that is no answer.
  }
  throw new PosternError('BACKEND_REFUSED', 'its answer cannot be read')
}

/** A field of an object that is an object; empty where it is none. */
export function fieldOf(
  value: Readonly<Record<string, unknown>>,
  name: string,
): Readonly<Record<string, unknown>> {
  const field = value[name]
  return typeof field === 'object' && field !== null ? (field as Record<string, unknown>) : {}
}
