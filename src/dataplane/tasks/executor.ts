import {
  fromBinary,
  fromJsonString,
  toBinary,
  toJsonString,
  type DescMessage,
  type DescMethod,
  type MessageShape,
} from '@bufbuild/protobuf'
import { PosternError } from '../../base/errors.ts'
import { askBackend } from '../../transport/ask-backend.ts'
import { readBackendFiles } from '../backend-files.ts'
import type { ExecutorRow } from '../executor-row.ts'

const OK = 200
const DENIED = [401, 403]
const BYTES_MAX = 64 * 1024

/** One call to an executor. */
export interface ExecutorCall {
  readonly leftMs: number
  readonly signal: AbortSignal
  /** By which an executor tells a call that comes twice. */
  readonly key: string
}

/** Asks an executor, and decodes what it answers. @throws BACKEND_UNREACHABLE, BACKEND_REFUSED, CREDENTIALS_MISSING, FILE_UNREADABLE */
export async function askExecutor<I extends DescMessage, O extends DescMessage>(
  row: ExecutorRow,
  method: DescMethod & { readonly input: I; readonly output: O },
  request: MessageShape<I>,
  call: ExecutorCall,
): Promise<MessageShape<O>> {
  const path = `${row.url.pathname.replace(/\/$/, '')}/${method.parent.typeName}/${method.name}`
  const url = new URL(path, row.url)
  const { token, ...trust } = readBackendFiles(row)
  const headers = {
    'idempotency-key': call.key,
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  }
  const msMax = Math.min(row.timeoutMs, call.leftMs)
  const common = { url, headers, ...trust, msMax, bytesMax: BYTES_MAX, signal: call.signal }
  if (row.type === 'grpc') {
    const { askGrpc } = await import('../../transport/ask-grpc.ts')
    const answer = await askGrpc({ ...common, body: toBinary(method.input, request) })
    return decoded(() => fromBinary(method.output, answer))
  }
  const answer = await askBackend({
    ...common,
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json', 'connect-protocol-version': '1' },
    body: toJsonString(method.input, request),
  })
  if (DENIED.includes(answer.status))
    throw new PosternError('CREDENTIALS_MISSING', `status ${String(answer.status)}`)
  // Its own words may hold what it was told.
  if (answer.status !== OK)
    throw new PosternError('BACKEND_REFUSED', `the executor answers ${String(answer.status)}`)
  const text = answer.body.toString()
  return decoded(() => fromJsonString(method.output, text, { ignoreUnknownFields: true }))
}

function decoded<T>(decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    const text = 'its answer is none of postern.dataplane.v1.Tasks'
    throw new PosternError('BACKEND_REFUSED', text, {}, { cause: error })
  }
}
