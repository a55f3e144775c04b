import type { RpcError } from '../../rpc/status.ts'
import type { ApiExchange } from '../../transport/api-exchange.ts'
import type { ApiCall, ApiProtocol } from './api-call.ts'
import {
  compressed,
  COMPRESSIONS,
  compressionOf,
  envelope,
  readMessages,
} from '../../transport/grpc-frames.ts'
import { answerFields } from './fields.ts'
import { statusFields, timeoutOf } from './grpc.ts'
import { makeCall } from './make-call.ts'

const COMPRESSED = 1
const TRAILERS = 0x80
/** Characters of base64 that stand for whole bytes. */
const QUAD = 4

/** gRPC-Web (github.com/grpc/grpc, doc/PROTOCOL-WEB.md): trailers are the last message. `isText`: bodies are in base64. */
export function grpcWeb(isText: boolean): ApiProtocol {
  const type = isText ? 'application/grpc-web-text+proto' : 'application/grpc-web+proto'
  const coded = (bytes: Buffer): Buffer => (isText ? Buffer.from(bytes.toString('base64')) : bytes)
  const end = (exchange: ApiExchange, fields: Readonly<Record<string, string>>): void => {
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
    const bytes = coded(envelope(TRAILERS, Buffer.from(lines.join(''), 'latin1')))
    if (!exchange.hasBegun) {
      exchange.answer(200, { 'content-type': type }, bytes)
      return
    }
    void exchange.write(bytes)
    exchange.end()
  }
  return {
    async serve(call) {
      const { exchange } = call
      try {
        const compression = compressionOf(exchange.headers['grpc-encoding'])
        const head = {
          'content-type': type,
          'grpc-accept-encoding': COMPRESSIONS,
          ...(compression === 'identity' ? {} : { 'grpc-encoding': compression }),
        }
        const body = isText ? fromBase64(exchange.body) : exchange.body
        const requests = readMessages(body, call, compression)
        const trailers = await makeCall(call, timeoutOf(exchange), requests, {
          onHeaders: (metadata) => {
            exchange.begin(200, { ...head, ...answerFields(metadata) })
          },
          onMessage: async (message) => {
            const { bytes, isCompressed } = await compressed(message, compression)
            await exchange.write(coded(envelope(isCompressed ? COMPRESSED : 0, bytes)))
          },
        })
        end(exchange, { 'grpc-status': '0', ...answerFields(trailers) })
      } catch (error) {
        end(exchange, statusFields(call.failureOf(error)))
      }
    },
    refuse(exchange: ApiExchange, error: RpcError) {
      end(exchange, statusFields(error))
    },
  }
}

/** Base64 in pieces, each of which may end with padding. */
async function* fromBase64(body: ApiCall['exchange']['body']): AsyncGenerator<Buffer, undefined> {
  let rest = ''
  for await (const chunk of body) {
    rest += chunk.toString('latin1')
    const whole = rest.length - (rest.length % QUAD)
    const quads = rest.slice(0, whole)
    rest = rest.slice(whole)
    // What is padded ends there; the next begins anew.
    const pieces = quads.match(/[^=]+={0,2}/g) ?? []
    yield Buffer.concat(pieces.map((piece) => Buffer.from(piece, 'base64')))
  }
  if (rest !== '') yield Buffer.from(rest, 'base64')
}
