import { PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { GoAway } from '../wire/goaway.ts'
import { backoffMs, type BackoffOptions } from './backoff.ts'
import { Lifecycle, type TunnelState } from './lifecycle.ts'
import {
  openConnection,
  type OpenFailure,
  type OpenPorts,
  type Welcomed,
} from './open-connection.ts'
import { PingPace } from './ping-pace.ts'
import { logTransition } from './tunnel-log.ts'
import type { ProcessParts, RpcConnection } from './rpc-connection.ts'

/** The values and collaborators that Tunnel is given. */
export interface TunnelOptions extends Omit<OpenPorts, 'onGoAway' | 'onDrained'> {
  readonly process: ProcessParts
  readonly logger: Logger
  readonly backoff: BackoffOptions
  /** Up this long, a tunnel that falls starts again from the first back-off step. In ms. */
  readonly stableMs: number
  /** There is another way to try, so that a failure is no reason to wait. Default: there is none. */
  hasAnotherWay?(): boolean
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
  readonly #ports: OpenPorts
  readonly #lifecycle: Lifecycle
  readonly #pace: PingPace
  readonly #stop = new AbortController()
  #lastError: PosternError | undefined
  #lastErrorAtMs = 0
  #attempt = 0
  /** When a gateway last said that it goes. */
  #restartAtMs = Number.NEGATIVE_INFINITY
  #readyAtMs = 0
  /** Ends what the loop waits for: the fall of the connection in use, or the end of a pause. */
  #fall: (failure: OpenFailure) => void = () => undefined
  #endPause: () => void = () => undefined
  /** Connections that the peer told to go, finishing their calls while the next one is up. */
  readonly #leaving = new Set<RpcConnection>()
  #allLeft: () => void = () => undefined

  constructor(options: TunnelOptions) {
    this.#options = options
    this.#pace = new PingPace(options.process.limits.pingIntervalMs)
    this.#lifecycle = new Lifecycle((from, to) => {
      logTransition(options.logger, from, to)
    })
    this.#ports = {
      dialTimeoutMs: options.dialTimeoutMs,
      dial: (signal) => options.dial(signal),
      register: (connection) => options.register(connection),
      streamsOf: (peer) => options.streamsOf(peer),
      onGoAway: (from, goAway) => {
        this.#goAway(from, goAway)
      },
      onDrained: (from) => {
        if (this.#leaving.has(from)) from.close(new PosternError('GOING_AWAY', 'drained'))
      },
    }
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
    void this.#run()
  }

  /**
   * Goes over to a second connection, as under a new certificate: opened and welcomed beside the
   * first, which then finishes its streams. While the tunnel is not up there is nothing to replace.
   * Resolves to whether a second one was welcomed and took over.
   * @throws the reason why none was welcomed; the first connection then stays as it is
   */
  async replace(): Promise<boolean> {
    const before = this.state
    if (before.name !== 'ready') return false
    const fresh = await this.#open()
    if ('cause' in fresh) throw fresh.cause
    if (this.state !== before) {
      fresh.connection.close(new PosternError('SHUTDOWN', 'the tunnel has changed meanwhile'))
      return false
    }
    this.#leaving.add(before.connection)
    this.#use(fresh)
    this.#options.process.runtime.clock.startTimer(HANDOVER_MS, () => {
      before.connection.session.goAway('GOING_AWAY', 'another connection has taken over')
    })
    return true
  }

  /** What kept the tunnel down may be mended: dials at once where it waits. */
  hurry(): void {
    if (this.state.name === 'backoff') this.#endPause()
  }

  /** Takes no new calls; resolves once the running ones have ended or `graceMs` has passed. */
  async drain(graceMs: number): Promise<void> {
    const { state } = this
    if (state.name === 'closed') return
    const connection = state.name === 'ready' ? state.connection : undefined
    this.#lifecycle.enter({ name: 'draining', connection })
    this.#stop.abort()
    this.#endPause()
    if (connection !== undefined) this.#leaving.add(connection)
    if (this.#leaving.size > 0) {
      const { promise, resolve } = Promise.withResolvers<undefined>()
      this.#allLeft = () => {
        resolve(undefined)
      }
      for (const one of this.#leaving) one.session.goAway('SHUTDOWN', 'the agent is stopping')
      const cancelTimer = this.#options.process.runtime.clock.startTimer(graceMs, this.#allLeft)
      await promise
      cancelTimer()
    }
    this.stop()
  }

  /** Stops at once. */
  stop(): void {
    const { state } = this
    if (state.name === 'closed') return
    const connection =
      state.name === 'ready' || state.name === 'draining' ? state.connection : undefined
    this.#lifecycle.enter({ name: 'closed' })
    this.#stop.abort()
    this.#endPause()
    this.#allLeft()
    const error = new PosternError('SHUTDOWN', 'the agent is stopping')
    connection?.close(error)
    for (const leaving of this.#leaving) leaving.close(error)
  }

  /** The whole life of the tunnel: each turn is one connection, or one failure to make one. */
  async #run(): Promise<void> {
    const isStopped = (): boolean => this.#stop.signal.aborted
    while (!isStopped()) {
      this.#lifecycle.enter({ name: 'connecting', attempt: this.#attempt })
      const opened = await this.#open()
      if (isStopped()) {
        if ('connection' in opened)
          opened.connection.close(new PosternError('SHUTDOWN', 'the agent is stopping'))
        return
      }
      const failure = 'cause' in opened ? opened : await this.#untilItFalls(opened)
      if (!isStopped()) await this.#wait(this.#delayMs(failure), failure.cause)
    }
  }

  #open(): Promise<Welcomed | OpenFailure> {
    const { process } = this.#options
    // With the pace of pings that the path has shown to need.
    const limits = { ...process.limits, pingIntervalMs: this.#pace.intervalMs }
    return openConnection(this.#ports, { ...process, limits }, this.#stop.signal)
  }

  #untilItFalls(opened: Welcomed): Promise<OpenFailure> {
    return new Promise((resolve) => {
      this.#fall = resolve
      this.#use(opened)
    })
  }

  #use({ connection, welcome, closed }: Welcomed): void {
    const { clock } = this.#options.process.runtime
    this.#readyAtMs = clock.nowMs()
    this.#lifecycle.enter({ name: 'ready', sinceWallMs: clock.wallMs(), connection, welcome })
    void closed.then((error) => {
      this.#closed(connection, error)
    })
    this.#options.onUp?.()
    // It may have said so before it was in use.
    if (connection.peerGoAway !== undefined) this.#goAway(connection, connection.peerGoAway)
  }

  #goAway(connection: RpcConnection, goAway: GoAway): void {
    const { state } = this
    if (state.name !== 'ready' || state.connection !== connection) return
    if (this.#leaving.has(connection)) return
    if (goAway.code !== 'SHUTDOWN' && goAway.code !== 'GOING_AWAY') return
    this.#leaving.add(connection)
    this.#judgeStability()
    // It comes back, or another takes its place: until then it is looked for often, and found soon.
    this.#restartAtMs = this.#options.process.runtime.clock.nowMs()
    const cause = new PosternError('GOING_AWAY', `the gateway drains: ${goAway.text}`)
    this.#fall({ cause, askedMs: goAway.reconnectAfterMs })
  }

  #closed(connection: RpcConnection, error: PosternError): void {
    if (this.#leaving.delete(connection)) {
      if (this.#leaving.size === 0) this.#allLeft()
      return
    }
    const { state } = this
    if (state.name !== 'ready' || state.connection !== connection) return
    this.#pace.fell(error.code, this.#options.process.runtime.clock.nowMs() - this.#readyAtMs)
    this.#judgeStability()
    this.#fall({ cause: error, askedMs: 0 })
  }

  /** A tunnel that was up for long starts again from the first back-off step. */
  #judgeStability(): void {
    const { clock } = this.#options.process.runtime
    if (clock.nowMs() - this.#readyAtMs >= this.#options.stableMs) this.#attempt = 0
  }

  /** How long to wait before the next try. A gateway that spreads its agents out says when to come back. */
  #delayMs({ cause, askedMs }: OpenFailure): number {
    const { backoff, process } = this.#options
    const { random, clock } = process.runtime
    // How long it may hold us off is ours to bound.
    if (askedMs > 0) return Math.min(askedMs, backoff.maxMs) + backoff.minMs * random.fraction()
    if (this.#options.hasAnotherWay?.() === true) return backoff.minMs * random.fraction()
    const isRestarting = clock.nowMs() - this.#restartAtMs < RESTART_MS
    const bound = Math.max(backoff.minMs, Math.min(backoff.maxMs, RESTART_BOUND_MS))
    const bounds = { minMs: backoff.minMs, maxMs: isRestarting ? bound : backoff.maxMs }
    if (cause.recovery !== 'give-up') return backoffMs(this.#attempt, bounds, random)
    return Math.max(backoff.maxMs / 2, backoffMs(Number.POSITIVE_INFINITY, bounds, random))
  }

  async #wait(delayMs: number, cause: PosternError): Promise<void> {
    const { clock } = this.#options.process.runtime
    this.#lastError = cause
    this.#lastErrorAtMs = clock.wallMs()
    const attempt = ++this.#attempt
    const untilWallMs = clock.wallMs() + delayMs
    const { promise, resolve } = Promise.withResolvers<undefined>()
    const cancelTimer = clock.startTimer(delayMs, () => {
      resolve(undefined)
    })
    this.#endPause = () => {
      cancelTimer()
      resolve(undefined)
    }
    this.#lifecycle.enter({ name: 'backoff', attempt, delayMs, untilWallMs, cause })
    this.#options.onDown?.(cause)
    await promise
  }
}
