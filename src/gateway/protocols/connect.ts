import { RpcError, type StatusName } from '../../rpc/status.ts'
import type { ApiExchange } from '../../transport/api-exchange.ts'
import type { ApiCall, ApiProtocol } from './api-call.ts'
import {
  compressed,
  COMPRESSIONS,
  compressionOf,
  envelope,
  readMessages,
  readWhole,
} from '../../transport/grpc-frames.ts'
import { answerFields } from './fields.ts'
import { holdAnswer, makeCall } from './make-call.ts'
import { errorDetails } from './status-details.ts'

const COMPRESSED = 1
const END = 2
const TIMEOUT = /^\d{1,10}$/
const TIMEOUT_MS_MAX = 0xffff_ffff

/** HTTP status of an error of a call that is not a stream (connectrpc.com/docs/protocol, "Error codes"). */
const HTTP_STATUS: Readonly<Record<StatusName, number>> = {
  OK: 200,
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401,
}

/** Connect (connectrpc.com/docs/protocol): `isJson`: messages are protobuf's JSON. */
export function connectUnary(isJson: boolean): ApiProtocol {
  const type = isJson ? 'application/json' : 'application/proto'
  const refuse = (exchange: ApiExchange, error: RpcError): void => {
    const body = Buffer.from(JSON.stringify(errorJson(error)))
    const fields = answerFields(error.metadata)
    exchange.answer(
      HTTP_STATUS[error.status],
      { 'content-type': 'application/json', ...fields },
      body,
    )
  }
  return {
    async serve(call) {
      const { exchange } = call
      try {
        if (call.kind !== 'unary')
          throw new RpcError('UNIMPLEMENTED', 'this method is a stream: application/connect+proto')
        const compression = compressionOf(exchange.headers['content-encoding'])
        const codec = isJson ? await call.codec() : undefined
        const told: Record<string, string> = {
          'content-type': type,
          'accept-encoding': COMPRESSIONS,
        }
        let body: Buffer = Buffer.alloc(0)
        const requests = (async function* (): AsyncGenerator<Buffer, undefined> {
          const bytes = await readWhole(exchange.body, call, compression)
          yield codec === undefined ? bytes : codec.request(bytes)
        })()
        const trailers = await makeCall(call, timeoutOf(exchange), requests, {
          onHeaders: (metadata) => {
            Object.assign(told, answerFields(metadata))
          },
          onMessage: async (message) => {
            const answer = codec === undefined ? message : codec.response(message)
            const { bytes, isCompressed } = await compressed(answer, compression)
            if (isCompressed) told['content-encoding'] = compression
            holdAnswer(call, bytes.length)
            body = bytes
          },
        })
        exchange.answer(200, { ...told, ...answerFields(trailers, 'trailer-') }, body)
      } catch (error) {
        refuse(exchange, call.failureOf(error))
      }
    },
    refuse,
  }
}

/** The streams of Connect: messages as in gRPC, and an end in JSON. */
export function connectStream(isJson: boolean): ApiProtocol {
  const type = isJson ? 'application/connect+json' : 'application/connect+proto'
  const end = (exchange: ApiExchange, value: object): void => {
    const bytes = envelope(END, Buffer.from(JSON.stringify(value)))
    if (!exchange.hasBegun) {
      exchange.answer(200, { 'content-type': type }, bytes)
      return
    }
    void exchange.write(bytes)
    exchange.end()
  }
  const fail = (exchange: ApiExchange, error: RpcError): void => {
    end(exchange, { error: errorJson(error), metadata: listed(answerFields(error.metadata)) })
  }
  return {
    async serve(call) {
      const { exchange } = call
      try {
        if (call.kind === 'unary')
          throw new RpcError('UNIMPLEMENTED', 'this method is no stream: application/proto')
        const compression = compressionOf(exchange.headers['connect-content-encoding'])
        const codec = isJson ? await call.codec() : undefined
        const head = {
          'content-type': type,
          'connect-accept-encoding': COMPRESSIONS,
          ...(compression === 'identity' ? {} : { 'connect-content-encoding': compression }),
        }
        const messages = readMessages(exchange.body, call, compression)
        const requests =
          codec === undefined ? messages : mapped(messages, (one) => codec.request(one))
        const trailers = await makeCall(call, timeoutOf(exchange), requests, {
          onHeaders: (metadata) => {
            exchange.begin(200, { ...head, ...answerFields(metadata) })
          },
          onMessage: async (message) => {
            const answer = codec === undefined ? message : codec.response(message)
            const { bytes, isCompressed } = await compressed(answer, compression)
            await exchange.write(envelope(isCompressed ? COMPRESSED : 0, bytes))
          },
        })
        end(exchange, { metadata: listed(answerFields(trailers)) })
      } catch (error) {
        fail(exchange, call.failureOf(error))
      }
    },
    refuse: fail,
  }
}

async function* mapped(
  source: AsyncIterable<Buffer>,
  map: (one: Buffer) => Buffer,
): AsyncGenerator<Buffer, undefined> {
  for await (const one of source) yield map(one)
}

/** @throws RpcError INVALID_ARGUMENT */
function timeoutOf({ headers }: ApiCall['exchange']): number | undefined {
  const said = headers['connect-timeout-ms']
  if (said === undefined) return undefined
  if (!TIMEOUT.test(said))
    throw new RpcError('INVALID_ARGUMENT', 'connect-timeout-ms is no number of milliseconds')
  return Math.max(1, Math.min(TIMEOUT_MS_MAX, Number(said)))
}

function errorJson({ status, rawMessage, metadata }: RpcError): object {
  // Connect spells this one as in American English.
  const code = status === 'CANCELLED' ? 'canceled' : status.toLowerCase()
  const details = errorDetails(metadata)
  return { code, message: rawMessage, ...(details.length === 0 ? {} : { details }) }
}

function listed(fields: Readonly<Record<string, string>>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, [value]]))
}
