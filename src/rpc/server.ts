import { PosternError, printable } from '../base/errors.ts'
import type { OpenArrival, StreamHandler } from '../mux/session-owner.ts'
import type { MuxStream } from '../mux/stream.ts'
import { judgeBody, readHead, type OpenHead } from '../wire/open-head.ts'
import { callerText, type Caller } from './caller.ts'
import { CallCounts } from './call-counts.ts'
import { CallContext } from './call-context.ts'
import type { RpcRuntime } from './runtime.ts'
import { ServerCall } from './server-call.ts'
import { KIND_NUMBERS, type Authorize, type Offer } from './service.ts'
import { statusNumber, statusOfCode } from './status.ts'

const OK = 0
const INTERNAL = statusNumber('INTERNAL')

/** What a connection vouches for of the streams that come over it. */
export interface Origin {
  /** Who calls: fixed by the connection, or read from the head where the peer is a gateway. */
  callerOf(head: OpenHead): Caller
  /** The cluster that a call must name where it names one. Default: any. */
  readonly cluster?: string
}

/**
 * Serves the calls and forwards of any number of sessions. Every one of them passes `authorize`
 * first; there is no other way to a handler.
 */
export class RpcServer {
  readonly #runtime: RpcRuntime
  readonly #authorize: Authorize
  readonly #forGateways: RpcServer | undefined
  readonly #methods = new Map<string, Offer>()
  readonly #forwards = new Map<string, Offer>()
  #running = 0
  /** Of what was served, and of what was refused by policy or for want of a method. */
  readonly counts = new CallCounts()

  /**
   * `forGateways`: serves what gateways ask in their own name, and nothing else does; without it they are
   * callers like others.
   */
  constructor(runtime: RpcRuntime, authorize: Authorize, forGateways?: RpcServer) {
    this.#runtime = runtime
    this.#authorize = authorize
    this.#forGateways = forGateways
  }

  /** Forwards and methods have separate names. */
  offer(offer: Offer): void {
    const table = offer.handler.kind === 'forward' ? this.#forwards : this.#methods
    table.set(offer.name, offer)
  }

  /** Takes no more forwards of that name; running ones go on. */
  withdrawForward(name: string): void {
    this.#forwards.delete(name)
  }

  get offers(): readonly Offer[] {
    return [...this.#methods.values(), ...this.#forwards.values()]
  }

  get runningCount(): number {
    return this.#running
  }

  /** Serves the streams of one connection. */
  streamsOf(origin: Origin): StreamHandler {
    return {
      open: (arrival) => {
        this.#open(arrival, origin)
      },
    }
  }

  #open(arrival: OpenArrival, origin: Origin): void {
    const { stream, bytes, start, end, isEnded } = arrival
    let head: OpenHead
    let context: CallContext
    try {
      head = readHead(bytes, start, end)
      judgeBody(head, end, isEnded)
      context = new CallContext(head, bytes, origin.callerOf(head), arrival.nowMs)
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      stream.refuse(error.code, false, error.rawMessage)
      return
    }
    const { cluster } = origin
    // Without a name it is for the receiver itself.
    if (cluster !== undefined && head.cluster !== '' && head.cluster !== cluster) {
      stream.refuse(
        'WRONG_CLUSTER',
        true,
        `this is cluster ${cluster}, not ${printable(head.cluster)}`,
      )
      return
    }
    const isGateway = context.caller.kind === 'gateway'
    const server = (isGateway ? this.#forGateways : undefined) ?? this
    server.#serve(arrival, head, context)
  }

  #serve({ stream, bytes, end, isEnded }: OpenArrival, head: OpenHead, context: CallContext): void {
    const offer = this.#admit(stream, head, context)
    if (offer === undefined) return
    this.#running++
    const { handler } = offer
    const onEnded = this.#endOf(context, handler.kind === 'forward')
    if (handler.kind === 'forward') {
      const done = (): void => {
        onEnded(OK)
      }
      handler.handle(stream, context).then(done, (error: unknown) => {
        this.#runtime.logger.error({ err: error, service: offer.name }, 'a forward failed')
        stream.reset('INTERNAL')
        onEnded(INTERNAL)
      })
    } else {
      const body = isEnded ? bytes.subarray(head.bodyStart, end) : undefined
      new ServerCall(this.#runtime, stream, context, onEnded).start(
        handler,
        body,
        offer.requestBytesMax,
      )
    }
  }

  /** The offer that the call may use; or undefined, and the stream was refused. */
  #admit(stream: MuxStream, head: OpenHead, context: CallContext): Offer | undefined {
    const isForward = head.kind === KIND_NUMBERS.forward
    const { caller, name, dataType } = context
    const offer = (isForward ? this.#forwards : this.#methods).get(name)
    const offeredDataType = offer?.dataType
    const denial = this.#authorize({ caller, name, isForward, dataType, offeredDataType })
    if (denial !== undefined) {
      this.counts.ended(isForward, statusNumber(statusOfCode(denial.code)), 0)
      stream.refuse(denial.code, false, denial.text)
      return undefined
    }
    if (offer === undefined || KIND_NUMBERS[offer.handler.kind] !== head.kind) {
      const text =
        offer === undefined ? `${name} is not offered` : `${name} is ${offer.handler.kind}`
      this.counts.ended(isForward, statusNumber(statusOfCode('METHOD_UNKNOWN')), 0)
      stream.refuse('METHOD_UNKNOWN', false, text)
      return undefined
    }
    return offer
  }

  /** Counts the call as it ends, and ends its span where somebody wants spans. */
  #endOf(context: CallContext, isForward: boolean): (status: number) => void {
    const { name, caller, cluster, traceparent, arrivedAtMs } = context
    const { tracer, clock } = this.#runtime
    const span = tracer?.start('serve', name, traceparent, {
      'postern.caller': callerText(caller),
      'postern.cluster': cluster,
    })
    return (status) => {
      this.#running--
      this.counts.ended(isForward, status, clock.nowMs() - arrivedAtMs)
      span?.end(status)
    }
  }
}
