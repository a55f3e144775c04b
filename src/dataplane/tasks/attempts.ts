import { createHash } from 'node:crypto'
import { toBinary } from '@bufbuild/protobuf'
import {
  DispatchRequestSchema,
  type DispatchRequest,
} from '../../gen/postern/dataplane/v1/tasks_pb.js'
import { rpcErrorOfCode } from '../../rpc/status.ts'

const ATTEMPTS_MAX = 10_000

interface Attempt<T> {
  /** SHA-256 of the request. */
  readonly digest: string
  readonly answer: Promise<T>
}

/** Attempts that were handed on lately: the same one again has the same answer, and is handed on once. */
export class Attempts<T> {
  readonly #byName = new Map<string, Attempt<T>>()

  /**
   * The answer to a request, by `begin` where it is new. One that failed is forgotten, so that it may be tried again.
   * @throws RpcError TASK_CONFLICT where the attempt was begun with another definition, and what `begin` throws
   */
  async once(
    name: string,
    request: DispatchRequest,
    begin: () => Promise<T>,
  ): Promise<{ readonly answer: T; readonly isRepeated: boolean }> {
    const bytes = toBinary(DispatchRequestSchema, request)
    const digest = createHash('sha256').update(bytes).digest('hex')
    const known = this.#byName.get(name)
    if (known !== undefined) {
      if (known.digest === digest) return { answer: await known.answer, isRepeated: true }
      const text = 'this attempt was begun with another definition: a new one needs another attempt'
      throw rpcErrorOfCode('TASK_CONFLICT', text)
    }
    const attempt = { digest, answer: begin() }
    this.#byName.set(name, attempt)
    const [oldest] = this.#byName.keys()
    if (this.#byName.size > ATTEMPTS_MAX && oldest !== undefined) this.#byName.delete(oldest)
    try {
      return { answer: await attempt.answer, isRepeated: false }
    } catch (error) {
      if (this.#byName.get(name) === attempt) this.#byName.delete(name)
      throw error
    }
  }
}
