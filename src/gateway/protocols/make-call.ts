import type { CallOptions } from '../../rpc/call-options.ts'
import { RpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import type { Metadata } from '../../wire/metadata.ts'
import type { ApiCall } from './api-call.ts'
import { callFields } from './fields.ts'
import { Patience } from './patience.ts'

/** Where the answer of a call goes, part by part. */
export interface AnswerSink {
  /** The metadata that the answer begins with; told once, before the first message, and not for a call that fails before it. */
  onHeaders(metadata: Metadata): void
  /** One message of the answer; the next comes once this has resolved. */
  onMessage(message: Buffer): Promise<void> | void
}

/** Makes a call and tells its answer; resolves to the metadata that came with the status OK. @throws RpcError */
export async function makeCall(
  call: ApiCall,
  timeoutMs: number | undefined,
  requests: AsyncGenerator<Buffer, undefined>,
  sink: AnswerSink,
): Promise<Metadata> {
  const { exchange, method, kind, channel, budget, clock } = call
  const { metadata, traceparent, userToken } = callFields(exchange)
  const patience = new Patience(call, timeoutMs)
  // How long a stream of requests takes is its client's to say.
  patience.isOver = kind === 'clientStream' || kind === 'bidi'
  const read = patience.bound(requests)
  let trailers: Metadata = {}
  let hasBegun = false
  let held = 0
  const begin = (headers: Metadata): void => {
    if (hasBegun) return
    hasBegun = true
    sink.onHeaders(headers)
  }
  const options = (): CallOptions => {
    const leftMs = patience.leftMs(clock.nowMs())
    return {
      ...{ signal: call.signal, metadata, traceparent, onHeaders: begin },
      ...(leftMs === undefined ? {} : { timeoutMs: leftMs }),
      ...(userToken === undefined ? {} : { userToken }),
      onTrailers: (told) => {
        trailers = told
      },
    }
  }
  /** A single request is held until its call is over. */
  const single = async (): Promise<Buffer> => {
    const request = await onlyOne(read, (bytes) => {
      if (!budget.reserve(bytes)) throw rpcErrorOfCode('BUDGET_EXHAUSTED', '')
      held += bytes
    })
    patience.isOver = true
    return request
  }
  try {
    if (kind === 'unary' || kind === 'clientStream') {
      const answer =
        kind === 'unary'
          ? await channel.unary(method, await single(), options())
          : await channel.clientStream(method, read, options())
      begin({})
      await sink.onMessage(answer)
      return trailers
    }
    const answers =
      kind === 'serverStream'
        ? channel.serverStream(method, await single(), options())
        : channel.bidi(method, read, options())
    for await (const answer of answers) {
      begin({})
      await sink.onMessage(answer)
    }
    begin({})
    return trailers
  } finally {
    patience.end()
    budget.release(held)
  }
}

/** Keeps bytes of an answer in the budget until nothing of it is held any more. @throws RpcError RESOURCE_EXHAUSTED */
export function holdAnswer({ budget, exchange }: ApiCall, bytes: number): void {
  if (!budget.reserve(bytes)) throw rpcErrorOfCode('BUDGET_EXHAUSTED', '')
  exchange.onClosed(() => {
    budget.release(bytes)
  })
}

/** @throws RpcError UNIMPLEMENTED where there is none, or more than one */
async function onlyOne(
  requests: AsyncIterable<Buffer>,
  hold: (bytes: number) => void,
): Promise<Buffer> {
  let only: Buffer | undefined
  for await (const request of requests) {
    if (only !== undefined) throw wrongCount('more than one message')
    hold(request.length)
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
