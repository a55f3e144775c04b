import { readFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { addressText } from '../../base/address.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import type { LogLimiter } from '../../base/log-limiter.ts'
import { pause } from '../../base/pause.ts'
import { dialFront, readServiceToken } from '../../carrier/carrier.ts'
import type { FrontRow } from '../../config/front-row.ts'
import type { Credential } from '../../identity/key-files.ts'
import { once } from '../../transport/edge.ts'
import { DIRECT } from '../../transport/egress.ts'
import { acceptOver } from '../../transport/tls-over.ts'
import { backoffMs } from '../../tunnel/backoff.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { PeerWire } from '../../tunnel/rpc-connection.ts'

const DIAL_MS = 20_000
const BACKOFF = { minMs: 500, maxMs: 30_000 }
/** A connection that has waited so long was not refused. */
const ACCEPTED_MS = 10_000

/** The values and collaborators that FrontDial is given. */
export interface FrontDialPorts {
  readonly ambient: Ambient
  readonly log: LogLimiter
  readonly trustDomain: string
  readonly handshakeMs: number
  readonly credential: () => Credential
  /** Gets each connection whose peer was judged to be an agent. It may throw its refusal. */
  readonly take: (wire: PeerWire) => void
}

/** How the dials to one front are. */
export interface FrontReport {
  readonly address: string
  /** A connection is there, and waits for the agent to begin. */
  readonly isWaiting: boolean
  /** Agents that came this way since the start, reconnections included. */
  readonly accepted: number
  /** Why the last dial failed; undefined: it did not. */
  readonly failure: string | undefined
}

/**
 * Keeps one connection to an agent's front, for the agent to begin on when it wants a tunnel, and dials another as soon as it
 * has. The agent stays the client of TLS and the dialler of the session: only the TCP connection is ours.
 */
export class FrontDial {
  readonly row: FrontRow
  readonly #ports: FrontDialPorts
  readonly #stop = new AbortController()
  #waiting: Duplex | undefined
  #attempt = 0
  #accepted = 0
  #failure: string | undefined

  constructor(row: FrontRow, ports: FrontDialPorts) {
    this.row = row
    this.#ports = ports
  }

  start(): void {
    void this.#run()
  }

  stop(): void {
    this.#stop.abort()
    this.#waiting?.destroy()
  }

  report(): FrontReport {
    return {
      address: addressText(this.row.address),
      isWaiting: this.#waiting !== undefined,
      accepted: this.#accepted,
      failure: this.#failure,
    }
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#ports.ambient
    const { signal } = this.#stop
    const isOver = (): boolean => signal.aborted
    while (!isOver()) {
      const startMs = clock.nowMs()
      try {
        await this.#turn()
      } catch (error) {
        if (isOver()) return
        if (clock.nowMs() - startMs > ACCEPTED_MS) this.#attempt = 0
        this.#failed(asPosternError(error, 'CONNECTION_LOST'))
      }
      // An agent that begins and breaks off, again and again, is dialled ever more rarely.
      const delayMs = BACKOFF.minMs / 2 + backoffMs(this.#attempt++, BACKOFF, random)
      await pause(clock, delayMs, signal)
    }
  }

  /** Dials, and waits for the agent to begin; the handshake goes on by itself. */
  async #turn(): Promise<void> {
    const stream = await this.#dial()
    this.#failure = undefined
    this.#waiting = stream
    try {
      await begun(stream)
    } finally {
      this.#waiting = undefined
    }
    void this.#accept(stream)
  }

  async #dial(): Promise<Duplex> {
    const { address, caFile, serviceTokenFile } = this.row
    const { clock } = this.#ports.ambient
    const timeout = new AbortController()
    const cancelTimer = clock.startTimer(DIAL_MS, () => {
      timeout.abort()
    })
    try {
      return await dialFront({
        address,
        caPem: caFile === undefined ? undefined : readFileSync(caFile, 'utf8'),
        token: serviceTokenFile === undefined ? undefined : readServiceToken(serviceTokenFile),
        egress: DIRECT,
        clock,
        signal: AbortSignal.any([timeout.signal, this.#stop.signal]),
      })
    } finally {
      cancelTimer()
    }
  }

  async #accept(stream: Duplex): Promise<void> {
    const { credential, trustDomain, handshakeMs, take } = this.#ports
    const address = addressText(this.row.address)
    try {
      const wire = await acceptOver(stream, {
        credential: credential(),
        expected: { trustDomain, roles: ['agent'] },
        address,
        timeoutMs: handshakeMs,
      })
      try {
        take(wire)
        this.#accepted++
        this.#attempt = 0
        this.#failure = undefined
      } catch (error) {
        wire.dismiss(asPosternError(error))
        throw error
      }
    } catch (error) {
      this.#failed(asPosternError(error, 'TLS_FAILED'))
    }
  }

  #failed({ code, rawMessage: reason }: PosternError): void {
    this.#failure = `${code}: ${reason}`
    const peer = addressText(this.row.address)
    this.#ports.log.warn(code, { code, peer, reason }, 'no agent came through a front')
  }
}

/** Resolves once the other end has said something, which stays unread. @throws CONNECTION_LOST, or what ended the stream */
async function begun(stream: Duplex): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>()
  const offs = [
    once(stream, 'readable', () => {
      // An end is readable, too.
      if (stream.readableLength > 0) resolve(undefined)
      else reject(closed())
    }),
    once(stream, 'error', reject),
    once(stream, 'close', () => {
      reject(closed())
    }),
  ]
  try {
    await promise
  } catch (error) {
    stream.destroy()
    throw error
  } finally {
    for (const off of offs) off()
  }
}

function closed(): PosternError {
  return new PosternError('CONNECTION_LOST', 'the front closed before the agent began')
}
