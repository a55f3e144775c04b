import type { ByteBudget } from '../base/byte-budget.ts'
import type { CancelTimer } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { MuxLimits } from '../mux/limits.ts'
import type { SessionEvent, StreamHandler } from '../mux/session-owner.ts'
import { RpcChannel } from '../rpc/channel.ts'
import type { RpcRuntime } from '../rpc/runtime.ts'
import type { TlsFacts } from '../transport/tls-wire.ts'
import type { GoAway } from '../wire/goaway.ts'
import { Connection, type Wire } from './connection.ts'
import type { SlabPool } from './slab-pool.ts'

const EXPIRY_CHECK_MS = 60_000

/** An authenticated connection: TLS, or a fake in tests. */
export interface PeerWire extends Wire {
  readonly facts: TlsFacts
  listen(listener: {
    onBytes(chunk: Buffer): void
    onClosed(error: PosternError | undefined): void
  }): void
}

/** What every connection of a process shares. */
export interface ProcessParts {
  readonly runtime: RpcRuntime
  readonly limits: MuxLimits
  readonly budget: ByteBudget
  readonly slabs: SlabPool
}

/** The handler of a connection's streams, and the listeners that it calls. */
export interface RpcConnectionEvents {
  /** Takes the streams that the peer opens. */
  readonly streams: StreamHandler
  /** The session may be used. */
  onReady?(connection: RpcConnection): void
  onGoAway?(connection: RpcConnection, goAway: GoAway): void
  onDrained?(connection: RpcConnection): void
  /** Told once. The peer's own reason, where it gave one, or ours. */
  onClosed(connection: RpcConnection, error: PosternError): void
}

/** One peer, connected: its wire, its session, and calls to it. */
export class RpcConnection {
  readonly facts: TlsFacts
  readonly connectedAtMs: number
  readonly #connection: Connection
  readonly #parts: ProcessParts
  readonly #events: RpcConnectionEvents
  #goAway: GoAway | undefined
  #cancelExpiry: CancelTimer | undefined

  /** @throws BUDGET_EXHAUSTED; the wire is then still the caller's to close */
  constructor(
    wire: PeerWire,
    role: 'dialer' | 'acceptor',
    parts: ProcessParts,
    events: RpcConnectionEvents,
  ) {
    this.facts = wire.facts
    this.#parts = parts
    this.#events = events
    const { clock } = parts.runtime
    this.connectedAtMs = clock.wallMs()
    const { limits, budget, slabs } = parts
    this.#connection = new Connection(
      { role, wire, limits, budget, clock, slabs, streams: events.streams },
      {
        onEvent: (event) => {
          this.#onEvent(event)
        },
      },
    )
    wire.listen({
      onBytes: (chunk) => {
        this.#connection.receive(chunk)
      },
      onClosed: (error) => {
        this.#connection.wireClosed(
          error ?? new PosternError('CONNECTION_LOST', 'the peer closed the connection'),
        )
      },
    })
    this.#connection.start()
    this.#watchExpiry()
  }

  #onEvent(event: SessionEvent): void {
    switch (event.name) {
      case 'ready':
        this.#events.onReady?.(this)
        return
      case 'go-away':
        this.#goAway = event.goAway
        this.#events.streams.leaving?.()
        this.#events.onGoAway?.(this, event.goAway)
        return
      case 'leaving':
        this.#events.streams.leaving?.()
        return
      case 'drained':
        this.#events.onDrained?.(this)
        return
      case 'closed':
        this.#cancelExpiry?.()
        this.#events.streams.closed?.()
        this.#events.onClosed(this, this.#reason(event.error))
    }
  }

  get session(): Connection['session'] {
    return this.#connection.session
  }

  /** Calls to a cluster behind the peer; without a name, to the peer itself. */
  channel(cluster = ''): RpcChannel {
    return new RpcChannel(this.#parts.runtime, this.session, cluster)
  }

  close(error: PosternError, reconnectAfterMs = 0): void {
    this.session.close(error, reconnectAfterMs)
  }

  /** The GOAWAY of the peer, once it came. */
  get peerGoAway(): GoAway | undefined {
    return this.#goAway
  }

  /** In how many ms the peer said to come back; 0: it did not. */
  get peerReconnectAfterMs(): number {
    return this.#goAway?.reconnectAfterMs ?? 0
  }

  /** Why the peer said that it goes, if it did. */
  get peerReason(): PosternError | undefined {
    if (this.#goAway === undefined) return undefined
    const { code, text } = this.#goAway
    return new PosternError(code, `the peer says: ${text === '' ? code : text}`)
  }

  /** A session lasts no longer than the certificate that it was made under. */
  #watchExpiry(): void {
    const { clock } = this.#parts.runtime
    const { certificateNotAfterMs: peers, ownNotAfterMs: ours = Infinity } = this.facts
    const leftMs = Math.min(peers, ours) - clock.wallMs()
    if (leftMs <= 0) {
      const whose = peers <= ours ? 'the certificate of the peer' : 'our own certificate'
      this.close(new PosternError('CERT_EXPIRED', `${whose} has expired`))
      return
    }
    // Looked at again and again, as the wall clock may be set.
    this.#cancelExpiry = clock.startTimer(Math.min(leftMs, EXPIRY_CHECK_MS), () => {
      this.#watchExpiry()
    })
  }

  /** A peer that said why it goes is the better witness than the socket that closed. */
  #reason(error: PosternError): PosternError {
    return error.code === 'CONNECTION_LOST' ? (this.peerReason ?? error) : error
  }
}
