import { PosternError, printable } from '../base/errors.ts'
import { Permit, type Ask, type CallGuard } from '../contract/call-guard.ts'
import { callerText, type Caller } from '../contract/caller.ts'
import { USER_TOKEN, type UserVerdict } from '../contract/user.ts'
import { dataTypeOfNumber } from '../contract/data-type.ts'
import type { OpenArrival, StreamHandler } from '../mux/session-owner.ts'
import type { MuxStream } from '../mux/stream.ts'
import { decodeExtras, type HeadExtras } from '../wire/head-extras.ts'
import { decodeMetadata, type Metadata } from '../wire/metadata.ts'
import { judgeBody, KIND, moveHead, readHead, type OpenHead } from '../wire/open-head.ts'
import { CallCounts } from './call-counts.ts'
import { CallContext } from './call-context.ts'
import { failureFacts } from './failure-facts.ts'
import type { RpcRuntime } from './runtime.ts'
import { ServerCall } from './server-call.ts'
import { KIND_NAMES, KIND_NUMBERS, type Offer } from './service.ts'
import { statusName, statusNumber, statusOfCode } from './status.ts'

const OK = 0
const INTERNAL = statusNumber('INTERNAL')

/** What a connection vouches for of the streams that come over it. */
export interface Origin {
  /** Who calls: fixed by the connection, or read from the head where the peer is a gateway. */
  callerOf(head: OpenHead, extras: HeadExtras): Caller
  /** The cluster that a call must name where it names one. Default: any. */
  readonly cluster?: string
  /** The gateway at the other end, and the region in its certificate. Default: none. */
  readonly gateway?: string
  readonly region?: string
  /** Key of the connection, for what holds as long as it lasts. Default: empty. */
  readonly tunnel?: string
  /** Takes the streams of sealed sessions. Default: they are refused. */
  sealed?(stream: MuxStream, caller: Caller): void
  /** Told when one side of the connection takes no new streams. */
  onLeaving?(): void
  /** Told when the connection has ended. */
  onClosed?(): void
}

/**
 * Serves the calls and forwards of any number of sessions. Every one of them needs a permit of the guard
 * first; there is no other way to a handler.
 */
export class RpcServer {
  readonly #runtime: RpcRuntime
  readonly #guard: CallGuard
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
  constructor(runtime: RpcRuntime, guard: CallGuard, forGateways?: RpcServer) {
    this.#runtime = runtime
    this.#guard = guard
    this.#forGateways = forGateways
  }

  /** Offers a method or service; each has names of its own. @throws CONFIG_INVALID for what the guard does not take */
  offer(offer: Offer): void {
    const isForward = offer.handler.kind === 'forward'
    this.#guard.judgeOffer(offer.name, offer.data)
    const table = isForward ? this.#forwards : this.#methods
    table.set(offer.name, offer)
  }

  /** Takes no more calls or forwards of that name; running ones go on. */
  withdraw(name: string): void {
    this.#methods.delete(name)
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
      leaving: () => {
        origin.onLeaving?.()
      },
      closed: () => {
        origin.onClosed?.()
      },
    }
  }

  #open(arrival: OpenArrival, origin: Origin): void {
    const { stream, bytes, start, end, isEnded } = arrival
    let head: OpenHead
    let metadata: Metadata
    let extras: HeadExtras
    let caller: Caller
    try {
      head = readHead(bytes, start, end)
      judgeBody(head, end, isEnded)
      metadata = decodeMetadata(bytes, head.metadataStart, head.metadataEnd)
      extras = decodeExtras(bytes, head.metadataEnd, head.bodyStart)
      caller = origin.callerOf(head, extras)
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
    if (head.kind === KIND.sealed) {
      if (origin.sealed === undefined)
        stream.refuse('METHOD_UNKNOWN', false, 'nothing is sealed here')
      else origin.sealed(stream, caller)
      return
    }
    const server = (caller.kind === 'gateway' ? this.#forGateways : undefined) ?? this
    const token = metadata[USER_TOKEN]
    const opened = { head, metadata, caller, origin }
    if (token === undefined) server.#serve(arrival, opened)
    else server.#serveFor(token, arrival, opened)
  }

  /** Serves what came with the token of a user, once that is verified. The token itself goes no further. */
  #serveFor(token: string, arrival: OpenArrival, whole: Opened): void {
    const others = Object.entries(whole.metadata).filter(([name]) => name !== USER_TOKEN)
    const opened = { ...whole, metadata: Object.fromEntries(others) }
    const { caller, head: said } = opened
    const call = { caller, name: said.name, kind: KIND_NAMES[said.kind] ?? 'unary' }
    const verdict = this.#guard.userOf(token, isSealed(caller), call)
    if (!(verdict instanceof Promise)) {
      this.#serve(arrival, { ...opened, verdict })
      return
    }
    // What was received lies in a buffer that is used again.
    const { stream, start, end } = arrival
    if (!stream.reserveMessage(end - start)) {
      stream.refuse('BUDGET_EXHAUSTED', true, '')
      return
    }
    const bytes = Buffer.from(arrival.bytes.subarray(start, end))
    const head = moveHead(opened.head, -start)
    verdict
      .then((found) => {
        const kept = { ...arrival, bytes, start: 0, end: bytes.length }
        if (!stream.isClosed) this.#serve(kept, { ...opened, head, verdict: found })
      })
      .catch((error: unknown) => {
        this.#runtime.logger.error(failureFacts(error), 'a token of a user could not be judged')
        if (!stream.isClosed) stream.refuse('INTERNAL', true, '')
      })
      .finally(() => {
        stream.releaseMessage(bytes.length)
      })
  }

  #serve(arrival: OpenArrival, { head, metadata, caller, origin, verdict }: Opened): void {
    const { stream, bytes, end, isEnded } = arrival
    const isForward = head.kind === KIND_NUMBERS.forward
    const offer = (isForward ? this.#forwards : this.#methods).get(head.name)
    const permit = this.#permit(stream, offer, {
      caller,
      name: head.name,
      kind: KIND_NAMES[head.kind] ?? 'unary',
      declared: dataTypeOfNumber(head.dataType),
      data: offer?.data,
      sealed: isSealed(caller),
      user: verdict === undefined || 'fault' in verdict ? undefined : verdict,
      userFault: verdict !== undefined && 'fault' in verdict ? verdict.fault : undefined,
      gateway: origin.gateway ?? '',
      region: origin.region ?? '',
      tunnel: origin.tunnel ?? '',
    })
    if (permit === undefined || offer === undefined) return
    const context = new CallContext(head, {
      metadata: allowed(metadata, permit),
      caller,
      permit,
      tunnel: origin.tunnel ?? '',
      nowMs: arrival.nowMs,
    })
    this.#running++
    const { handler } = offer
    const onEnded = this.#endOf(context, handler.kind === 'forward')
    if (handler.kind === 'forward') {
      const done = (): void => {
        onEnded(OK)
      }
      handler.handle(stream, context).then(done, (error: unknown) => {
        const facts = { ...failureFacts(error), service: offer.name }
        this.#runtime.logger.error(facts, 'a forward failed')
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

  /** The leave to run what is offered; or undefined, and the stream was refused. */
  #permit(stream: MuxStream, offer: Offer | undefined, ask: Ask): Permit | undefined {
    const isForward = ask.kind === 'forward'
    const decision = this.#guard.decide(ask)
    if (!Permit.is(decision)) {
      this.counts.ended(isForward, statusNumber(statusOfCode(decision.code)), 0)
      stream.refuse(decision.code, false, decision.text)
      return undefined
    }
    if (offer?.handler.kind === ask.kind) return decision
    const text =
      offer === undefined ? `${ask.name} is not offered` : `${ask.name} is ${offer.handler.kind}`
    decision.ended('METHOD_UNKNOWN')
    this.counts.ended(isForward, statusNumber(statusOfCode('METHOD_UNKNOWN')), 0)
    stream.refuse('METHOD_UNKNOWN', false, text)
    return undefined
  }

  /** Counts the call as it ends, and ends its span where somebody wants spans. */
  #endOf(context: CallContext, isForward: boolean): (status: number) => void {
    const { name, caller, cluster, traceparent, arrivedAtMs, permit } = context
    const { tracer, clock } = this.#runtime
    const span = tracer?.start('serve', name, traceparent, {
      'postern.caller': callerText(caller),
      'postern.cluster': cluster,
    })
    return (status) => {
      this.#running--
      permit.ended(statusName(status))
      this.counts.ended(isForward, status, clock.nowMs() - arrivedAtMs)
      span?.end(status)
    }
  }
}

const NO_METADATA: Metadata = Object.freeze({})

/** The metadata that a permit lets through. */
function allowed(metadata: Metadata, permit: Permit): Metadata {
  let kept: Record<string, string> | undefined
  for (const name in metadata) {
    if (!permit.mayTell(name)) continue
    kept ??= Object.create(null) as Record<string, string>
    kept[name] = metadata[name] as string
  }
  return kept ?? NO_METADATA
}

/** What is known first-hand came within a sealed session. */
function isSealed(caller: Caller): boolean {
  return caller.kind === 'service' && caller.known === 'first-hand'
}

/** A stream whose head was read. */
interface Opened {
  readonly head: OpenHead
  readonly metadata: Metadata
  readonly caller: Caller
  readonly origin: Origin
  /** On the user that the caller acts for, where it said so. */
  readonly verdict?: UserVerdict | undefined
}
