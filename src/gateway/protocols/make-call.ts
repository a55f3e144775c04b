import type { CallOptions } from '../../rpc/call-options.ts'
import { RpcError } from '../../rpc/status.ts'
import type { Metadata } from '../../wire/metadata.ts'
import type { ApiCall } from './api-call.ts'
import { callFields } from './fields.ts'

/** Where the answer of a call goes, part by part. */
export interface AnswerSink {
  /** The metadata that the answer begins with; told once, before the first message, and not for a call that fails before it. */
  onHeaders(metadata: Metadata): void
  /** One message of the answer; the next comes once this has resolved. */
  onMessage(message: Buffer): Promise<void> | void
}

/** Makes a call and tells its answer; resolves to the metadata that came with the status OK. @throws RpcError */
export async function makeCall(
  { exchange, method, kind, channel, signal }: ApiCall,
  timeoutMs: number | undefined,
  requests: AsyncIterable<Buffer>,
  sink: AnswerSink,
): Promise<Metadata> {
  const { metadata, traceparent, userToken } = callFields(exchange)
  let trailers: Metadata = {}
  let hasBegun = false
  const begin = (headers: Metadata): void => {
    if (hasBegun) return
    hasBegun = true
    sink.onHeaders(headers)
  }
  const options: CallOptions = {
    ...{ signal, metadata, traceparent },
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(userToken === undefined ? {} : { userToken }),
    onHeaders: begin,
    onTrailers: (told) => {
      trailers = told
    },
  }
  if (kind === 'unary' || kind === 'clientStream') {
    const answer =
      kind === 'unary'
        ? await channel.unary(method, await onlyOne(requests), options)
        : await channel.clientStream(method, requests, options)
    begin({})
    await sink.onMessage(answer)
    return trailers
  }
  const answers =
    kind === 'serverStream'
      ? channel.serverStream(method, await onlyOne(requests), options)
      : channel.bidi(method, requests, options)
  for await (const answer of answers) {
    begin({})
    await sink.onMessage(answer)
  }
  begin({})
  return trailers
}

/** @throws RpcError INVALID_ARGUMENT where there is none, or more than one */
async function onlyOne(requests: AsyncIterable<Buffer>): Promise<Buffer> {
  let only: Buffer | undefined
  for await (const request of requests) {
    if (only !== undefined) throw wrongCount('more than one message')
    // It lies in a buffer of the client's connection, and is sent before that is used again.
    only = request
  }
  if (only === undefined) throw wrongCount('no message')
  return only
}

function wrongCount(what: string): RpcError {
  return new RpcError(
    'UNIMPLEMENTED',
    `the request of this method is one message; there was ${what}`,
  )
}
