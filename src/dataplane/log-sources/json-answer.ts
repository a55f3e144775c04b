import { PosternError } from '../../base/errors.ts'
import type { BackendAnswer } from '../../transport/ask-backend.ts'

const OK = 200
const DENIED = [401, 403]
/** What a backend says of a query that it does not take. */
const REFUSED = [400, 404, 422]

/** The object that a backend has answered with. @throws CREDENTIALS_MISSING, QUERY_REFUSED, BACKEND_REFUSED */
export function jsonAnswer({ status, body }: BackendAnswer): Readonly<Record<string, unknown>> {
  const text = `status ${String(status)}`
  if (DENIED.includes(status)) throw new PosternError('CREDENTIALS_MISSING', text)
  if (REFUSED.includes(status)) throw new PosternError('QUERY_REFUSED', text)
  if (status !== OK) throw new PosternError('BACKEND_REFUSED', text)
  try {
    const value: unknown = JSON.parse(body.toString())
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // As any other answer that is none.
  }
  throw new PosternError('BACKEND_REFUSED', 'its answer is no JSON object')
}

/** The list that lies under these names; empty where there is none. */
export function listIn(value: unknown, ...names: readonly string[]): readonly unknown[] {
  const found = names.reduce<unknown>(
    (within, name) => (within as Record<string, unknown> | null | undefined)?.[name],
    value,
  )
  return Array.isArray(found) ? (found as unknown[]) : []
}
