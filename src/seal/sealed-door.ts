import { identityUri } from '../identity/name.ts'
import type { LogLimiter } from '../base/log-limiter.ts'
import { asPosternError, PosternError, type ErrorCode } from '../base/errors.ts'
import type { StreamHandler } from '../mux/session-owner.ts'
import type { MuxStream } from '../mux/stream.ts'
import { sealedAccept, type SealedEnd } from '../transport/sealed-tls.ts'
import type { TlsFacts, TlsWire } from '../transport/tls-wire.ts'
import { RpcConnection, type ProcessParts } from '../tunnel/rpc-connection.ts'
import { DoorShares } from './door-shares.ts'
import { StreamDuplex } from './stream-duplex.ts'

const HANDSHAKE_MS_MAX = 10_000
const HANDSHAKE_BYTES_MAX = 32 * 1024
const LOOK_MS = 60_000
/** A session without a call for so many looks ends: it holds bytes that others may need. */
const IDLE_LOOKS_MAX = 15

/** The values and collaborators that SealedDoor is given. */
export interface SealedDoorPorts {
  readonly process: ProcessParts
  /** Our end, with the key and the trust of this moment. */
  readonly end: () => Promise<SealedEnd>
  /** Why no session is taken now; undefined: they are. */
  readonly refusal: () => PosternError | undefined
  readonly log: LogLimiter
  /** Hears of each session that is refused for the key at its other end, for the record. */
  readonly onRefused: (from: CarrierFacts, refusal: PosternError) => void
}

/** The tunnel that the stream of a session came by, and the gateway at its other end. */
export interface CarrierFacts {
  readonly gateway: string
  readonly region: string
  /** Key of the tunnel's connection. */
  readonly tunnel: string
  /** Who the gateway says opens it: a name to share the door by, and no more. */
  readonly caller: string
}

interface Held {
  /** The certificates that the caller has shown. */
  readonly chain: readonly Buffer[]
  readonly tunnel: string
  idleLooks: number
}

/** A handshake that is over, and the certificates that were shown in it. */
interface Shaken {
  readonly wire: TlsWire
  readonly chain: readonly Buffer[]
}

/** The agent's end of sealed sessions: each lies in a stream of a tunnel, and is with a caller whose key was judged. */
export class SealedDoor {
  readonly #ports: SealedDoorPorts
  readonly #shares: DoorShares
  readonly #sessions = new Map<RpcConnection, Held>()
  #isLooking = false

  constructor(ports: SealedDoorPorts) {
    this.#ports = ports
    this.#shares = new DoorShares(ports.process.budget)
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  /** Takes the stream of a session. `streamsOf`: who serves what the caller opens in it. */
  take(stream: MuxStream, from: CarrierFacts, streamsOf: (facts: TlsFacts) => StreamHandler): void {
    const { clock } = this.#ports.process.runtime
    const refusal = this.#ports.refusal()
    const leave = refusal === undefined ? this.#shares.knock(from, clock.nowMs()) : undefined
    if (leave === undefined) {
      const { code, rawMessage } = refusal ?? CROWDED
      stream.refuse(code, refusal === undefined, rawMessage)
      return
    }
    const carrier = new StreamDuplex(HANDSHAKE_BYTES_MAX)
    carrier.attach(stream)
    const cancel = clock.startTimer(HANDSHAKE_MS_MAX, () => {
      carrier.destroy(new PosternError('HANDSHAKE_LIMIT', 'the sealed handshake took too long'))
    })
    void this.#handshake(stream, carrier, from.gateway)
      .then(({ wire, chain }) => {
        carrier.lift()
        this.#serve(wire, { chain, tunnel: from.tunnel, idleLooks: 0 }, streamsOf)
      })
      .catch((error: unknown) => {
        const found = asPosternError(error)
        this.#refused(found, from)
        // Where it was told by the session itself, what was said still leaves.
        if (found.code !== 'SEAL_REFUSED') carrier.destroy()
      })
      .finally(() => {
        cancel()
        leave()
      })
  }

  /** Sessions in a tunnel that takes no new streams end with their last call. */
  leave(tunnel: string): void {
    for (const [{ session }, held] of this.#sessions)
      if (held.tunnel === tunnel) session.goAway('GOING_AWAY', 'the tunnel goes')
  }

  /** Ends every session. */
  close(code: ErrorCode, text: string): void {
    for (const connection of [...this.#sessions.keys()])
      connection.close(new PosternError(code, text))
  }

  /** Ends the sessions whose caller would not be let in by the trust of this moment; all, where none can be judged. */
  async sweep(): Promise<void> {
    let end: SealedEnd
    try {
      end = await this.#ports.end()
    } catch (error) {
      const { code, rawMessage } = asPosternError(error)
      this.close(code, rawMessage)
      return
    }
    for (const [connection, { chain }] of [...this.#sessions]) {
      try {
        const { identity } = end.judge(chain)
        if (identityUri(identity) === identityUri(connection.facts.identity)) continue
        connection.close(new PosternError('SEAL_REFUSED', 'the key is pinned for another caller'))
      } catch (error) {
        connection.close(asPosternError(error))
      }
    }
  }

  async #handshake(stream: MuxStream, carrier: StreamDuplex, gateway: string): Promise<Shaken> {
    const end = await this.#endFor(stream)
    stream.accept(carrier)
    if (stream.isClosed) throw new PosternError('CONNECTION_LOST', 'the caller has gone')
    let chain: readonly Buffer[] = []
    const judge = (shown: readonly Buffer[]): ReturnType<SealedEnd['judge']> => {
      chain = shown
      return end.judge(shown)
    }
    const { certificatePem, keyPem, notAfterMs } = end
    const ours = { certificatePem, keyPem, notAfterMs, judge }
    const wire = await sealedAccept(carrier, ours, `through ${gateway}`)
    return { wire, chain }
  }

  /** @throws what our own key is not fit for, and the stream was refused */
  async #endFor(stream: MuxStream): Promise<SealedEnd> {
    try {
      const end = await this.#ports.end()
      const { clock } = this.#ports.process.runtime
      if (end.notAfterMs > clock.wallMs()) return end
      throw new PosternError('CERT_EXPIRED', 'the sealing certificate of this agent has expired')
    } catch (error) {
      const { code, rawMessage } = asPosternError(error)
      stream.refuse(code, false, rawMessage)
      throw error
    }
  }

  #serve(wire: TlsWire, held: Held, streamsOf: (facts: TlsFacts) => StreamHandler): void {
    const room = this.#shares.enter(identityUri(wire.facts.identity))
    if (room === undefined) {
      wire.dismiss(CROWDED)
      return
    }
    try {
      const parts = { ...this.#ports.process, budget: room.budget }
      const live = { isOver: false }
      const connection = new RpcConnection(wire, 'acceptor', parts, {
        streams: streamsOf(wire.facts),
        onClosed: (closed) => {
          live.isOver = true
          this.#sessions.delete(closed)
          room.leave()
        },
      })
      // One that a certificate has ended already, while it was made, is in no list.
      if (!live.isOver) this.#sessions.set(connection, held)
      this.#lookLater()
    } catch (error) {
      room.leave()
      wire.dismiss(asPosternError(error))
    }
  }

  /** Has sessions that nobody uses end, while there are any. */
  #lookLater(): void {
    if (this.#isLooking || this.#sessions.size === 0) return
    this.#isLooking = true
    this.#ports.process.runtime.clock.startTimer(LOOK_MS, () => {
      this.#isLooking = false
      for (const [{ session }, held] of [...this.#sessions]) {
        held.idleLooks = session.streamCount === 0 ? held.idleLooks + 1 : 0
        if (held.idleLooks === IDLE_LOOKS_MAX) session.goAway('GOING_AWAY', 'nobody uses it')
      }
      this.#lookLater()
    })
  }

  #refused(refusal: PosternError, from: CarrierFacts): void {
    const { code, rawMessage: reason } = refusal
    const { gateway } = from
    this.#ports.log.warn(code, { code, reason, gateway }, 'a sealed session was refused')
    if (code === 'SEAL_REFUSED') this.#ports.onRefused(from, refusal)
  }
}

const CROWDED = new PosternError(
  'STREAM_LIMIT',
  'this agent has too many sealed sessions for the moment',
)
