import { asPosternError, PosternError } from '../base/errors.ts'
import type { CancelTimer } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { RegisterResponse } from '../gen/postern/v1/tunnel_pb.js'
import type { Identity } from '../identity/name.ts'
import { RpcError } from '../rpc/status.ts'
import type { GoAway } from '../wire/goaway.ts'
import { backoffMs, type BackoffOptions } from './backoff.ts'
import { Lifecycle, type TunnelState } from './lifecycle.ts'
import { PingPace } from './ping-pace.ts'
import { logTransition } from './tunnel-log.ts'
import {
  RpcConnection,
  type PeerWire,
  type ProcessParts,
  type RpcConnectionEvents,
} from './rpc-connection.ts'

/** The values and collaborators that Tunnel is given. */
export interface TunnelOptions {
  readonly process: ProcessParts
  readonly logger: Logger
  readonly backoff: BackoffOptions
  /** Longest time from dial to welcome, in ms. */
  readonly dialTimeoutMs: number
  /** Up this long, a tunnel that falls starts again from the first back-off step. In ms. */
  readonly stableMs: number
  /** Connects and authenticates. */
  dial(signal: AbortSignal): Promise<PeerWire>
  /** The first call on a fresh session; its answer makes the tunnel ready. */
  register(connection: RpcConnection): Promise<RegisterResponse>
  /** The peer, whose identity its certificate names, opened a stream. */
  onOpen(peer: Identity, ...open: Parameters<RpcConnectionEvents['onOpen']>): void
  /** The tunnel is ready, or has gone over to a fresh connection. */
  onUp?(): void
  /** The tunnel fell, or did not come up. */
  onDown?(cause: PosternError): void
}

/** Streams that the gateway opened on the old connection before it knew of the new one have come by then. */
const HANDOVER_MS = 2000
/** For so long after a gateway said that it goes, tries are at most this far apart, in ms. */
const RESTART_MS = 300_000
const RESTART_BOUND_MS = 4000

/**
 * The lasting connection of an agent to its gateway: it dials, registers, and dials again for as
 * long as it is not stopped. It never gives up: a permanent error is said as such, and retried at
 * the slowest pace, because the other side may be put right.
 */
export class Tunnel {
  readonly #options: TunnelOptions
  readonly #lifecycle: Lifecycle
  readonly #pace: PingPace
  #lastError: PosternError | undefined
  #lastErrorAtMs = 0
  #attempt = 0
  /** When a gateway last said that it goes. */
  #restartAtMs = Number.NEGATIVE_INFINITY
  #readyAtMs = 0
  #cancelTimer: CancelTimer | undefined
  #abortDial: AbortController | undefined
  /** Connections that the peer told to go, finishing their calls while the next one is up. */
  readonly #leaving = new Set<RpcConnection>()
  #onClosed: (() => void) | undefined

  constructor(options: TunnelOptions) {
    this.#options = options
    this.#pace = new PingPace(options.process.limits.pingIntervalMs)
    this.#lifecycle = new Lifecycle((from, to) => {
      logTransition(options.logger, from, to)
    })
  }

  get state(): TunnelState {
    return this.#lifecycle.state
  }

  get lastError(): PosternError | undefined {
    return this.#lastError
  }

  /** In wall-clock ms. */
  get lastErrorAtMs(): number {
    return this.#lastErrorAtMs
  }

  /** Those that carry streams: the one in use, and those that are being left. */
  get connections(): readonly RpcConnection[] {
    const { state } = this
    return state.name === 'ready' ? [state.connection, ...this.#leaving] : [...this.#leaving]
  }

  start(): void {
    this.#connect()
  }

  /**
   * Goes over to a second connection, as under a new certificate: opened and welcomed beside the
   * first, which then finishes its streams. While the tunnel is not up there is nothing to replace.
   * Resolves to whether a second one was welcomed and took over.
   * @throws what dialling and registering throw; the first connection then stays as it is
   */
  async replace(): Promise<boolean> {
    const before = this.state
    if (before.name !== 'ready') return false
    const fresh = await this.#openBeside()
    if (this.state !== before) {
      fresh.connection.close(new PosternError('SHUTDOWN', 'the tunnel has changed meanwhile'))
      return false
    }
    const { clock } = this.#options.process.runtime
    this.#leaving.add(before.connection)
    this.#readyAtMs = clock.nowMs()
    this.#lifecycle.enter({ name: 'ready', sinceWallMs: clock.wallMs(), ...fresh })
    this.#options.onUp?.()
    clock.startTimer(HANDOVER_MS, () => {
      before.connection.session.goAway('GOING_AWAY', 'another connection has taken over')
    })
    return true
  }

  /** What kept the tunnel down may be mended: dials at once where it waits. */
  hurry(): void {
    if (this.state.name !== 'backoff') return
    this.#cancelTimer?.()
    this.#connect()
  }

  /** Takes no new calls; resolves once the running ones have ended or `graceMs` has passed. */
  async drain(graceMs: number): Promise<void> {
    const { state } = this
    if (state.name === 'closed') return
    this.#cancelTimer?.()
    this.#abortDial?.abort()
    const connection = state.name === 'ready' ? state.connection : undefined
    this.#lifecycle.enter({ name: 'draining', connection })
    const all = connection === undefined ? [...this.#leaving] : [connection, ...this.#leaving]
    if (all.length > 0) {
      const drained = new Promise<void>((resolve) => {
        this.#onClosed = resolve
      })
      for (const one of all) {
        this.#leaving.add(one)
        one.session.goAway('SHUTDOWN', 'the agent is stopping')
      }
      this.#cancelTimer = this.#options.process.runtime.clock.startTimer(graceMs, () => {
        this.#onClosed?.()
      })
      await drained
    }
    this.stop()
  }

  /** Stops at once. */
  stop(): void {
    const { state } = this
    if (state.name === 'closed') return
    this.#cancelTimer?.()
    this.#abortDial?.abort()
    const connection =
      state.name === 'ready' || state.name === 'draining' ? state.connection : undefined
    this.#lifecycle.enter({ name: 'closed' })
    const error = new PosternError('SHUTDOWN', 'the agent is stopping')
    connection?.close(error)
    for (const leaving of this.#leaving) leaving.close(error)
  }

  #connect(): void {
    this.#cancelTimer = undefined
    this.#lifecycle.enter({ name: 'connecting', attempt: this.#attempt })
    const abort = new AbortController()
    this.#abortDial = abort
    const { clock } = this.#options.process.runtime
    const { dialTimeoutMs } = this.#options
    this.#cancelTimer = clock.startTimer(dialTimeoutMs, () => {
      const seconds = String(dialTimeoutMs / 1000)
      this.#failed(
        abort,
        new PosternError('DIAL_TIMEOUT', `no welcome from the gateway within ${seconds} s`),
      )
    })
    this.#options.dial(abort.signal).then(
      (wire) => {
        if (abort.signal.aborted) wire.destroy()
        else this.#begin(abort, wire)
      },
      (error: unknown) => {
        this.#failed(abort, asPosternError(error, 'DIAL_FAILED'))
      },
    )
  }

  async #openBeside(): Promise<{ connection: RpcConnection; welcome: RegisterResponse }> {
    const { process, dialTimeoutMs } = this.#options
    // Aborted by no one else: whatever becomes of the first connection has its own.
    const abort = new AbortController()
    const cancelTimer = process.runtime.clock.startTimer(dialTimeoutMs, () => {
      abort.abort()
    })
    try {
      const wire = await this.#options.dial(abort.signal)
      try {
        return await this.#welcomed(wire, abort)
      } catch (error) {
        // Whatever it was that failed: nobody else holds this connection.
        wire.destroy()
        throw error
      }
    } finally {
      cancelTimer()
    }
  }

  async #welcomed(
    wire: PeerWire,
    abort: AbortController,
  ): Promise<{ connection: RpcConnection; welcome: RegisterResponse }> {
    return await new Promise((resolve, reject) => {
      const events = this.#events(
        wire.facts.identity,
        (ready) => {
          this.#options.register(ready).then((welcome) => {
            resolve({ connection: ready, welcome })
          }, reject)
        },
        (from, error) => {
          reject(error)
          if (this.state.name !== 'connecting') this.#closed(abort, from, error)
        },
      )
      new RpcConnection(wire, 'dialer', this.#parts(), events)
      abort.signal.addEventListener('abort', () => {
        reject(new PosternError('DIAL_TIMEOUT', 'no welcome from the gateway in time'))
      })
    })
  }

  #events(
    peer: Identity,
    onReady: (connection: RpcConnection) => void,
    onClosed: (connection: RpcConnection, error: PosternError) => void,
  ): RpcConnectionEvents {
    return {
      onReady,
      onClosed,
      onOpen: (stream, bytes, start, end, isEnded) => {
        this.#options.onOpen(peer, stream, bytes, start, end, isEnded)
      },
      onGoAway: (from, goAway) => {
        this.#goAway(from, goAway)
      },
      onDrained: (from) => {
        if (this.#leaving.has(from)) from.close(new PosternError('GOING_AWAY', 'drained'))
      },
    }
  }

  /** With the pace of pings that the path has shown to need. */
  #parts(): ProcessParts {
    const { process } = this.#options
    return { ...process, limits: { ...process.limits, pingIntervalMs: this.#pace.intervalMs } }
  }

  #begin(abort: AbortController, wire: PeerWire): void {
    try {
      const events = this.#events(
        wire.facts.identity,
        (ready) => void this.#register(abort, ready),
        (from, error) => {
          this.#closed(abort, from, error)
        },
      )
      const connection = new RpcConnection(wire, 'dialer', this.#parts(), events)
      abort.signal.addEventListener('abort', () => {
        if (this.state.name !== 'ready')
          connection.close(new PosternError('SHUTDOWN', 'the dial was given up'))
      })
    } catch (error) {
      wire.destroy()
      this.#failed(abort, asPosternError(error))
    }
  }

  async #register(abort: AbortController, connection: RpcConnection): Promise<void> {
    try {
      const welcome = await this.#options.register(connection)
      if (abort.signal.aborted || this.state.name !== 'connecting') return
      this.#cancelTimer?.()
      const { clock } = this.#options.process.runtime
      this.#readyAtMs = clock.nowMs()
      this.#lifecycle.enter({ name: 'ready', sinceWallMs: clock.wallMs(), connection, welcome })
      this.#options.onUp?.()
    } catch (error) {
      // A session that was lost says why in #closed; here only a refusal of the call itself remains.
      if (error instanceof RpcError && error.code === 'CONNECTION_LOST') return
      const cause = connection.peerReason ?? errorOfRegister(error)
      this.#failed(abort, cause, connection.peerReconnectAfterMs)
      connection.close(new PosternError('SHUTDOWN', 'the registration failed'))
    }
  }

  #goAway(connection: RpcConnection, goAway: GoAway): void {
    const { state } = this
    if (state.name !== 'ready' || state.connection !== connection) return
    if (goAway.code !== 'SHUTDOWN' && goAway.code !== 'GOING_AWAY') return
    this.#leaving.add(connection)
    this.#judgeStability()
    // It comes back, or another takes its place: until then it is looked for often, and found soon.
    this.#restartAtMs = this.#options.process.runtime.clock.nowMs()
    const cause = new PosternError('GOING_AWAY', `the gateway drains: ${goAway.text}`)
    this.#retry(cause, goAway.reconnectAfterMs)
  }

  /** A tunnel that was up for long starts again from the first back-off step. */
  #judgeStability(): void {
    const { clock } = this.#options.process.runtime
    if (clock.nowMs() - this.#readyAtMs >= this.#options.stableMs) this.#attempt = 0
  }

  #closed(abort: AbortController, connection: RpcConnection, error: PosternError): void {
    if (this.#leaving.delete(connection)) {
      if (this.#leaving.size === 0 && this.state.name === 'draining') this.#onClosed?.()
      return
    }
    const { state } = this
    if (state.name === 'connecting')
      this.#failed(abort, refusedOr(error), connection.peerReconnectAfterMs)
    else if (state.name === 'ready' && state.connection === connection) {
      const upMs = this.#options.process.runtime.clock.nowMs() - this.#readyAtMs
      this.#pace.fell(error.code, upMs)
      this.#judgeStability()
      this.#retry(error)
    }
  }

  #failed(abort: AbortController, error: PosternError, askedMs = 0): void {
    if (abort.signal.aborted || this.state.name !== 'connecting') return
    this.#retry(error, askedMs)
    abort.abort()
  }

  /** `askedMs`: the gateway spreads its agents out, and said when to come back; 0: it did not. */
  #retry(cause: PosternError, askedMs = 0): void {
    const { backoff, process } = this.#options
    if (askedMs > 0) {
      // How long it may hold us off is ours to bound.
      const boundedMs = Math.min(askedMs, backoff.maxMs)
      this.#wait(boundedMs + backoff.minMs * process.runtime.random.fraction(), cause)
      return
    }
    const isPermanent = cause.recovery === 'give-up'
    const attempt = isPermanent ? 30 : this.#attempt
    const sinceRestartMs = process.runtime.clock.nowMs() - this.#restartAtMs
    const maxMs =
      sinceRestartMs < RESTART_MS
        ? Math.max(backoff.minMs, Math.min(backoff.maxMs, RESTART_BOUND_MS))
        : backoff.maxMs
    const bounds = { minMs: backoff.minMs, maxMs }
    const jittered = backoffMs(attempt, bounds, process.runtime.random)
    this.#wait(isPermanent ? Math.max(backoff.maxMs / 2, jittered) : jittered, cause)
  }

  #wait(delayMs: number, cause: PosternError): void {
    this.#cancelTimer?.()
    this.#lastError = cause
    this.#attempt++
    const { clock } = this.#options.process.runtime
    this.#lastErrorAtMs = clock.wallMs()
    const untilWallMs = clock.wallMs() + delayMs
    const attempt = this.#attempt
    this.#lifecycle.enter({ name: 'backoff', attempt, delayMs, untilWallMs, cause })
    this.#cancelTimer = clock.startTimer(delayMs, () => {
      this.#connect()
    })
    this.#options.onDown?.(cause)
  }
}

/** A close right after the handshake, without a word, is how a refused certificate looks. */
function refusedOr(error: PosternError): PosternError {
  if (error.code !== 'CONNECTION_LOST') return error
  const text =
    'the gateway closed the connection before its welcome; its log says why (most often a refused certificate)'
  return new PosternError('PEER_REFUSED', text, {}, { cause: error })
}

function errorOfRegister(error: unknown): PosternError {
  if (!(error instanceof RpcError)) return asPosternError(error)
  return new PosternError(
    error.code ?? 'PEER_REFUSED',
    `the gateway refused to register us: ${error.rawMessage}`,
  )
}
