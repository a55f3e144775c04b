import { RpcError, statusNumber } from '../../rpc/status.ts'
import type { ApiExchange, HeaderFields } from '../../transport/api-exchange.ts'
import type { ApiCall, ApiProtocol } from './api-call.ts'
import {
  compressed,
  COMPRESSIONS,
  compressionOf,
  envelope,
  readMessages,
} from '../../transport/grpc-frames.ts'
import { answerFields } from './fields.ts'
import { holdAnswer, makeCall } from './make-call.ts'

const COMPRESSED = 1
const TIMEOUT = /^(\d{1,8})([HMSmun])$/
const UNIT_MS: Readonly<Record<string, number>> = {
  ...{ H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 },
}
const TIMEOUT_MS_MAX = 0xffff_ffff

/** gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md). */
export const GRPC: ApiProtocol = {
  async serve(call) {
    const { exchange } = call
    let compression = compressionOf(undefined)
    const head = (): HeaderFields => ({
      'content-type': 'application/grpc+proto',
      'grpc-accept-encoding': COMPRESSIONS,
      ...(compression === 'identity' ? {} : { 'grpc-encoding': compression }),
    })
    // An answer that is one message goes out whole, with its head and its trailers.
    let waiting: { headers: HeaderFields; body: Buffer } | undefined
    const isStream = call.kind === 'serverStream' || call.kind === 'bidi'
    try {
      compression = compressionOf(exchange.headers['grpc-encoding'])
      const trailers = await makeCall(call, timeoutOf(exchange), messagesOf(call), {
        onHeaders: (metadata) => {
          const headers = { ...head(), ...answerFields(metadata) }
          if (isStream) exchange.begin(200, headers)
          else waiting = { headers, body: Buffer.alloc(0) }
        },
        onMessage: async (message) => {
          const { bytes, isCompressed } = await compressed(message, compression)
          const body = envelope(isCompressed ? COMPRESSED : 0, bytes)
          if (waiting === undefined) await exchange.write(body)
          else {
            holdAnswer(call, body.length)
            waiting.body = body
          }
        },
      })
      const end = { 'grpc-status': '0', ...answerFields(trailers) }
      if (waiting === undefined) exchange.end(end)
      else exchange.answer(200, waiting.headers, waiting.body, end)
    } catch (error) {
      fail(exchange, head(), call.failureOf(error), waiting?.headers)
    }
  },
  refuse(exchange, error) {
    fail(exchange, { 'content-type': 'application/grpc+proto' }, error, undefined)
  },
}

/** The messages of a request, at the pace that they are read. */
export function messagesOf(call: ApiCall): AsyncGenerator<Buffer, undefined> {
  const compression = compressionOf(call.exchange.headers['grpc-encoding'])
  return readMessages(call.exchange.body, call, compression)
}

/** The time that a call may take, in ms; undefined: any. @throws RpcError INVALID_ARGUMENT */
export function timeoutOf({ headers }: Pick<ApiExchange, 'headers'>): number | undefined {
  const said = headers['grpc-timeout']
  if (said === undefined) return undefined
  const [, amount = '', unit = ''] = TIMEOUT.exec(said) ?? []
  if (unit === '') throw new RpcError('INVALID_ARGUMENT', 'grpc-timeout is of no known form')
  return Math.max(1, Math.min(TIMEOUT_MS_MAX, Number(amount) * (UNIT_MS[unit] ?? 1)))
}

/** The fields that a status is told by. */
export function statusFields({ status, rawMessage, metadata }: RpcError): Record<string, string> {
  return {
    'grpc-status': String(statusNumber(status)),
    'grpc-message': percentEncoded(rawMessage),
    ...answerFields(metadata),
  }
}

/** As gRPC wants it: what is not printable ASCII, and the percent sign, as UTF-8 in percent encoding. */
export function percentEncoded(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('')
}

/** Where nothing was sent the status stands in the head itself ("Trailers-Only"). */
function fail(
  exchange: ApiExchange,
  head: HeaderFields,
  error: RpcError,
  begun: HeaderFields | undefined,
): void {
  const end = statusFields(error)
  const { code, notStarted } = error
  const isLeaving = code === 'GOING_AWAY' || code === 'SHUTDOWN'
  // A client of gRPC calls another gateway by itself.
  if (isLeaving && notStarted && begun === undefined && exchange.decline()) return
  if (begun !== undefined) exchange.answer(200, begun, Buffer.alloc(0), end)
  else if (exchange.hasBegun) exchange.end(end)
  else exchange.answer(200, { ...head, ...end }, Buffer.alloc(0))
}
