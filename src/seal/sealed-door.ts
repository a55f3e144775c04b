import { identityUri } from '../identity/name.ts'
import type { LogLimiter } from '../base/log-limiter.ts'
import { asPosternError, PosternError, type ErrorCode } from '../base/errors.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { StreamHandler } from '../mux/session-owner.ts'
import type { MuxStream } from '../mux/stream.ts'
import { sealedAccept, type SealedEnd } from '../transport/sealed-tls.ts'
import type { TlsFacts, TlsWire } from '../transport/tls-wire.ts'
import { RpcConnection, type ProcessParts } from '../tunnel/rpc-connection.ts'
import { StreamDuplex } from './stream-duplex.ts'

/** A handshake costs about two milliseconds of a core, and whoever can reach a gateway can ask for one. */
const HANDSHAKES_PER_SECOND = 50
const HANDSHAKES_BURST = 200
const PENDING_MAX = 64
const SESSIONS_MAX = 1024
const HANDSHAKE_MS_MAX = 10_000
const HANDSHAKE_BYTES_MAX = 32 * 1024

/** The values and collaborators that SealedDoor is given. */
export interface SealedDoorPorts {
  readonly process: ProcessParts
  /** Our end, with the key and the trust of this moment. */
  readonly end: () => Promise<SealedEnd>
  /** Why no session is taken now; undefined: they are. */
  readonly refusal: () => PosternError | undefined
  readonly log: LogLimiter
}

/** The tunnel that the stream of a session came by, and the gateway at its other end. */
export interface CarrierFacts {
  readonly gateway: string
  /** Key of the tunnel's connection. */
  readonly tunnel: string
}

interface Held {
  /** The certificates that the caller has shown. */
  readonly chain: readonly Buffer[]
  readonly tunnel: string
}

/** A handshake that is over, and the certificates that were shown in it. */
interface Shaken {
  readonly wire: TlsWire
  readonly chain: readonly Buffer[]
}

/** The agent's end of sealed sessions: each lies in a stream of a tunnel, and is with a caller whose key was judged. */
export class SealedDoor {
  readonly #ports: SealedDoorPorts
  readonly #rate = new TokenBucket(HANDSHAKES_PER_SECOND, HANDSHAKES_BURST)
  readonly #sessions = new Map<RpcConnection, Held>()
  #pending = 0

  constructor(ports: SealedDoorPorts) {
    this.#ports = ports
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  /** Takes the stream of a session. `streamsOf`: who serves what the caller opens in it. */
  take(stream: MuxStream, from: CarrierFacts, streamsOf: (facts: TlsFacts) => StreamHandler): void {
    const { gateway, tunnel } = from
    const refusal = this.#ports.refusal() ?? this.#crowded()
    if (refusal !== undefined) {
      stream.refuse(refusal.code, refusal.recovery === 'retry', refusal.rawMessage)
      return
    }
    const carrier = new StreamDuplex(HANDSHAKE_BYTES_MAX)
    carrier.attach(stream)
    this.#pending++
    const { clock } = this.#ports.process.runtime
    const cancel = clock.startTimer(HANDSHAKE_MS_MAX, () => {
      carrier.destroy(new PosternError('HANDSHAKE_LIMIT', 'the sealed handshake took too long'))
    })
    void this.#handshake(stream, carrier, gateway)
      .then(({ wire, chain }) => {
        carrier.lift()
        this.#serve(wire, { chain, tunnel }, streamsOf)
      })
      .catch((error: unknown) => {
        this.#refused(asPosternError(error), gateway)
      })
      .finally(() => {
        cancel()
        this.#pending--
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
      return await this.#ports.end()
    } catch (error) {
      const { code, rawMessage } = asPosternError(error)
      stream.refuse(code, false, rawMessage)
      throw error
    }
  }

  #serve(wire: TlsWire, held: Held, streamsOf: (facts: TlsFacts) => StreamHandler): void {
    const connection = new RpcConnection(wire, 'acceptor', this.#ports.process, {
      streams: streamsOf(wire.facts),
      onClosed: (closed) => {
        this.#sessions.delete(closed)
      },
    })
    this.#sessions.set(connection, held)
  }

  #crowded(): PosternError | undefined {
    const nowMs = this.#ports.process.runtime.clock.nowMs()
    const isCrowded = this.#pending >= PENDING_MAX || this.#sessions.size >= SESSIONS_MAX
    return isCrowded || !this.#rate.spend(nowMs)
      ? new PosternError('STREAM_LIMIT', 'this agent has too many sealed sessions for the moment')
      : undefined
  }

  #refused({ code, rawMessage: reason }: PosternError, gateway: string): void {
    const facts = { code, reason, gateway }
    this.#ports.log.warn(code, facts, 'a sealed session was refused')
  }
}
