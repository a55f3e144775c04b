import type { Duplex } from 'node:stream'
import { addressText } from '../../base/address.ts'
import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asPosternError, PosternError, type ErrorCode } from '../../base/errors.ts'
import type { LogLimiter } from '../../base/log-limiter.ts'
import { readPublicFile, readSecretFile } from '../../identity/key-files.ts'
import type { CallContext } from '../../rpc/call-context.ts'
import type { MethodHandler, Offer } from '../../rpc/service.ts'
import { RpcError, rpcErrorOfCode, statusName } from '../../rpc/status.ts'
import { passThrough, type PassThrough } from '../../rpc/typed.ts'
import type { ServiceHealth } from '../probes.ts'
import { GrpcClient, type Fields, type GrpcEnd } from '../../transport/grpc-client.ts'
import type { Budget } from '../../transport/grpc-frames.ts'
import { dialSocket } from '../../transport/local-dial.ts'
import { secureTarget } from '../../transport/target-tls.ts'
import { dialTarget } from '../../transport/tcp-dial.ts'
import type { GrpcRow } from './grpc-row.ts'
import { vendorMethods, type VendorMethod, type VendorMethods } from './vendor-methods.ts'

const HEALTH = '/grpc.health.v1.Health/Check'
const SERVING = '0801'
const UNIMPLEMENTED = 12
const LOOK_MS = 5000
/** After one that has failed. */
const LOOK_AGAIN_MS = 1000
const LOOK_MS_MAX = 3000
/** Failed looks in a row before the service counts as down. */
const FALL = 2
const HEALTH_BYTES_MAX = 1024
/** What of a caller's metadata would pass for what the agent, HTTP or gRPC says. */
const NEVER_IN =
  /^(?:postern-.*|host|te|connection|keep-alive|upgrade|transfer-encoding|trailer|content-.*|grpc-(?!tags-bin$|trace-bin$).*|user-agent)$/

/** The values and collaborators that `VendorService` is given. */
export interface VendorPorts {
  readonly clock: Clock
  readonly log: LogLimiter
  /** Largest message of an answer, in bytes. */
  readonly messageBytesMax: number
  /** What is gathered of answers is reserved here. */
  readonly budget: Budget
  /** The server answers its health check, or does so no more. */
  readonly onHealth: (health: ServiceHealth) => void
}

/** A vendor's own server of gRPC behind the agent: its methods are offered as the agent's own are, each with its data. */
export class VendorService {
  readonly row: GrpcRow
  readonly offers: readonly Offer[]
  readonly descriptors: VendorMethods['descriptors']
  readonly #ports: VendorPorts
  readonly #client: GrpcClient
  readonly #makeLooker: () => GrpcClient
  /** What looks at its health has a connection of its own: calls may use up all places in the server. */
  #looker: GrpcClient
  #failures = 0
  #health: ServiceHealth | undefined
  #cancelLook: CancelTimer | undefined
  #isStopped = false

  /** @throws CONFIG_INVALID */
  constructor(row: GrpcRow, ports: VendorPorts) {
    this.row = row
    this.#ports = ports
    const { methods, descriptors } = vendorMethods(row)
    this.descriptors = descriptors
    const client = (): GrpcClient =>
      new GrpcClient(authorityOf(row), ports.clock, (signal) => dial(row, signal))
    this.#client = client()
    this.#makeLooker = client
    this.#looker = client()
    this.offers = methods.map((method) => this.#offer(method))
  }

  /** What looks at its health have come to; undefined before the first. */
  get health(): ServiceHealth | undefined {
    return this.#health
  }

  /** Looks at its health again and again. */
  start(): void {
    if (!this.#isStopped) void this.#look()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelLook?.()
    this.#client.close()
    this.#looker.close()
  }

  #offer(method: VendorMethod): Offer {
    const { name, data, description } = method
    const pass = description === undefined ? AS_IT_IS : passThrough(description, data)
    return { name, data, handler: this.#handler(method, pass) }
  }

  #handler({ kind, name }: VendorMethod, pass: PassThrough): MethodHandler {
    const path = `/${name}`
    const run = (requests: AsyncIterable<Uint8Array>, context: CallContext) =>
      this.#call(path, requests, context, pass)
    switch (kind) {
      case 'unary':
        return { kind, handle: (request, context) => this.#onlyOne(run(one(request), context)) }
      case 'clientStream':
        return { kind, handle: (requests, context) => this.#onlyOne(run(requests, context)) }
      case 'serverStream':
        return { kind, handle: (request, context) => run(one(request), context) }
      case 'bidi':
        return { kind, handle: run }
    }
  }

  async *#call(
    path: string,
    requests: AsyncIterable<Uint8Array>,
    context: CallContext,
    pass: PassThrough,
  ): AsyncGenerator<Uint8Array, undefined> {
    const { clock, budget, log } = this.#ports
    const { name } = this.row
    if (this.#health?.isDown === true)
      throw rpcErrorOfCode('SERVICE_DOWN', `service ${name} is down`)
    const { deadlineAtMs, permit, signal } = context
    const messageBytesMax = Math.min(permit.messageBytesMax, this.#ports.messageBytesMax)
    // What fails to be read or judged of the requests is what the call fails with.
    const failed: { by?: unknown } = {}
    const answers = this.#client.call({
      ...{ path, signal, budget, messageBytesMax },
      timeoutMs: deadlineAtMs === undefined ? undefined : deadlineAtMs - clock.nowMs(),
      metadata: toldTo(context),
      requests: judged(requests, (bytes) => pass.request(bytes, context), failed),
      onHeaders: (metadata) => {
        context.sendHeaders(metadata)
      },
    })
    let end: GrpcEnd
    try {
      for (;;) {
        const next = await answers.next()
        if (next.done === true) {
          end = next.value
          break
        }
        yield pass.response(next.value, context)
      }
    } catch (error) {
      if (failed.by !== undefined) throw failed.by as Error
      if (signal.aborted) throw rpcErrorOfCode('CANCELLED', '')
      if (!(error instanceof PosternError)) throw error
      const { code, rawMessage: reason } = error
      log.warn(code, { code, service: name, reason }, 'a call to a service failed')
      // Where the server is, and which files are for it, is the customer's own.
      throw rpcErrorOfCode(toldCode(code), `service ${name} could not be asked`)
    } finally {
      await answers.return(NO_END)
    }
    if (failed.by !== undefined) throw failed.by as Error
    if (end.status !== 0) throw this.#errorOf(end)
    context.trailers = end.metadata
  }

  /** @throws RpcError INTERNAL where the server has not answered with one message */
  async #onlyOne(answers: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
    const { budget } = this.#ports
    let only: Uint8Array | undefined
    let held = 0
    try {
      for await (const answer of answers) {
        if (only !== undefined)
          throw new RpcError('INTERNAL', 'the service answered more than once')
        if (!budget.reserve(answer.length)) throw rpcErrorOfCode('BUDGET_EXHAUSTED', '')
        held = answer.length
        // Reserved there no more once the next one is asked for.
        only = Buffer.from(answer)
      }
      if (only === undefined) throw new RpcError('INTERNAL', 'the service answered nothing')
      return only
    } finally {
      budget.release(held)
    }
  }

  #errorOf({ status, text, metadata }: GrpcEnd): RpcError {
    const isRemote = this.row.errorTexts === 'drop'
    return new RpcError(statusName(status), text, { isRemote, metadata })
  }

  /** Whoever does not know the health service is up while it answers. */
  async #look(): Promise<void> {
    const { clock } = this.#ports
    const beganAtMs = clock.nowMs()
    const isServing = await this.#isServing()
    if (!isServing) {
      // The connection may be what has failed.
      this.#looker.close()
      this.#looker = this.#makeLooker()
    }
    await this.#client.probe(LOOK_MS_MAX)
    if (this.#isStopped) {
      this.#looker.close()
      return
    }
    this.#failures = isServing ? 0 : this.#failures + 1
    const isDown = this.#failures >= FALL
    const before = this.#health
    const hasChanged = isDown !== (before?.isDown ?? false)
    const reason = isDown ? 'its gRPC health check fails' : ''
    const sinceMs = before === undefined || hasChanged ? clock.wallMs() : before.sinceMs
    const latencyMs = clock.nowMs() - beganAtMs
    this.#health = { name: this.row.name, isDown, reason, sinceMs, latencyMs }
    if (hasChanged) this.#ports.onHealth(this.#health)
    this.#cancelLook = clock.startTimer(isServing ? LOOK_MS : LOOK_AGAIN_MS, () => {
      void this.#look()
    })
  }

  async #isServing(): Promise<boolean> {
    const { budget, clock } = this.#ports
    const late = new AbortController()
    const cancel = clock.startTimer(LOOK_MS_MAX, () => {
      late.abort()
    })
    const answers = this.#looker.call({
      ...{ path: HEALTH, metadata: {}, budget, messageBytesMax: HEALTH_BYTES_MAX },
      ...{ timeoutMs: LOOK_MS_MAX, signal: late.signal },
      requests: one(Buffer.alloc(0)),
      onHeaders: () => undefined,
    })
    try {
      const first = await answers.next()
      if (first.done !== true) return first.value.toString('hex') === SERVING
      return first.value.status === UNIMPLEMENTED
    } catch (error) {
      asPosternError(error)
      return false
    } finally {
      cancel()
      await answers.return(NO_END)
    }
  }
}

const NO_END: GrpcEnd = { status: 0, text: '', metadata: {} }

/** Of methods that are known by name alone. */
const AS_IT_IS: PassThrough = { request: (bytes) => bytes, response: (bytes) => bytes }

/** What the server hears beside the request: metadata that the policy lets through, and who calls. */
function toldTo({ metadata, caller, traceparent }: CallContext): Fields {
  const told: Record<string, string> = {}
  for (const [name, value] of Object.entries(metadata))
    if (!NEVER_IN.test(name) && /^[\x20-\x7e]*$/.test(value)) told[name] = value
  if (traceparent !== '') told.traceparent = traceparent
  if (caller.kind !== 'service') return told
  told['postern-caller'] = caller.name
  told['postern-caller-known'] = caller.known
  if (caller.issuer !== undefined) told['postern-caller-issuer'] = caller.issuer
  return told
}

async function* judged(
  requests: AsyncIterable<Uint8Array>,
  judge: (bytes: Uint8Array) => Uint8Array,
  failed: { by?: unknown },
): AsyncGenerator<Uint8Array, undefined> {
  try {
    for await (const bytes of requests) yield judge(bytes)
  } catch (error) {
    failed.by = error
    throw error
  }
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array, undefined> {
  yield await Promise.resolve(bytes)
}

/** Files of ours that cannot be read are nobody's business but the customer's. */
function toldCode(code: ErrorCode): ErrorCode {
  const told: readonly ErrorCode[] = [
    ...(['TARGET_FORBIDDEN', 'STREAM_LIMIT', 'MESSAGE_TOO_LARGE'] as const),
    ...(['BUDGET_EXHAUSTED', 'MALFORMED_CALL'] as const),
  ]
  return told.includes(code) ? code : 'TARGET_UNREACHABLE'
}

function authorityOf({ target, serverName }: GrpcRow): string {
  if (serverName !== undefined) return serverName
  return target === undefined ? 'localhost' : addressText(target)
}

/** Files are read anew for each connection. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE, FILE_UNREADABLE, KEY_EXPOSED */
async function dial(row: GrpcRow, signal: AbortSignal): Promise<Duplex> {
  const { target, socketPath, isTls, caFile, serverName, certificateFile, keyFile } = row
  if (target === undefined) return await dialSocket(socketPath ?? '', signal)
  if (!isTls) return await dialTarget(target, signal)
  // Read before anything is dialled, so that no connection is left behind where that fails.
  const caPem = caFile === undefined ? undefined : readPublicFile(caFile)
  const own = {
    protocols: ['h2'],
    ...(certificateFile === undefined ? {} : { certificatePem: readPublicFile(certificateFile) }),
    ...(keyFile === undefined ? {} : { keyPem: readSecretFile(keyFile) }),
  }
  const socket = await dialTarget(target, signal)
  const name = { host: serverName ?? target.host, port: target.port }
  return await secureTarget(socket, name, caPem, signal, own)
}
