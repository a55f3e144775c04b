import { refuseStreams } from '../mux/session-owner.ts'
import { PosternError } from '../base/errors.ts'
import { silentLogger, type Logger } from '../base/logger.ts'
import type { Clock } from '../base/clock.ts'
import { type Random, systemRandom } from '../base/random.ts'
import { systemClock } from '../base/system-clock.ts'
import type { Address } from '../base/address.ts'
import { SESSION_SETTINGS } from '../config/shared-settings.ts'
import { dialTls } from '../transport/tls-dial.ts'
import { processParts, type SessionSettings } from '../tunnel/process-parts.ts'
import { RpcConnection } from '../tunnel/rpc-connection.ts'
import { readCredentials, type Credentials } from './credentials.ts'
import { GatewayClient } from './gateway-client.ts'

/** How connections to gateways are made. */
export interface ConnectionOptions {
  /** DNS name that the gateway's certificate must hold. Default: the host of each address. */
  readonly serverName?: string
  readonly trustDomain: string
  /** A certificate of role caller, its key, and the roots to trust: as files, as PEM, or from a function. */
  readonly credentials: Credentials
  /** Longest time to connect, in ms. Default 10 000. */
  readonly timeoutMs?: number
  /** Gives up connecting. Default: nothing does but `timeoutMs`. */
  readonly signal?: AbortSignal
  /** Default: nothing is logged. */
  readonly logger?: Logger
  /** Time and chance, for tests. Default: the real ones. */
  readonly clock?: Clock
  readonly random?: Random
  /** Session settings by their names in docs/SETTINGS.md. Default: those of the commands. */
  readonly settings?: Partial<SessionSettings>
}

/** The values and collaborators that `dialGateway` is given. */
export interface DialOptions extends ConnectionOptions {
  /** The caller listener of the gateway. */
  readonly address: Address
}

const CONNECT_MS = 10_000

/**
 * Connects once; a connection that is lost is not made again, as only the caller knows which of its
 * calls may be repeated. @throws PosternError with the network, TLS and identity codes
 */
export async function dialGateway(options: DialOptions): Promise<GatewayClient> {
  const { address, serverName, trustDomain, signal, timeoutMs = CONNECT_MS } = options
  const { clock, random } = ambientOf(options)
  const ambient = {
    clock,
    random,
    logger: options.logger ?? silentLogger,
  }
  const credential = await readCredentials(options.credentials, clock.wallMs())
  const parts = processParts({ ...defaultSettings(), ...options.settings }, ambient)
  const expected = { trustDomain, roles: ['gateway'] as const }
  const nowMs = clock.wallMs()
  const startMs = clock.nowMs()
  const late = AbortSignal.timeout(timeoutMs)
  const either = signal === undefined ? late : AbortSignal.any([signal, late])
  const dial = { ...address, serverName, credential, expected, nowMs, signal: either }
  const wire = await dialTls(dial).catch((error: unknown) => {
    throw signal?.aborted === true ? givenUp() : error
  })
  return await new Promise((resolve, reject) => {
    const client: { current?: GatewayClient } = {}
    let isDraining = false
    const leftMs = Math.max(0, timeoutMs - (clock.nowMs() - startMs))
    const cancelTimer = clock.startTimer(leftMs, () => {
      reject(new PosternError('DIAL_TIMEOUT', 'the gateway sent no hello in time'))
      wire.destroy()
    })
    const giveUp = (): void => {
      reject(givenUp())
      wire.destroy()
    }
    signal?.addEventListener('abort', giveUp, { once: true })
    if (signal?.aborted === true) giveUp()
    new RpcConnection(wire, 'dialer', parts, {
      onReady: (connection) => {
        cancelTimer()
        signal?.removeEventListener('abort', giveUp)
        client.current = new GatewayClient(connection, parts)
        resolve(client.current)
      },
      streams: refuseStreams('a caller serves nothing'),
      onGoAway: (_connection, { code }) => {
        isDraining = code === 'SHUTDOWN' || code === 'GOING_AWAY'
        client.current?.wentAway()
      },
      onDrained: (connection) => {
        // One that refuses us hangs up by itself, and its reason is the one to report.
        if (isDraining || client.current?.isRetired === true)
          connection.close(new PosternError('GOING_AWAY', 'drained'))
      },
      onClosed: (_connection, error) => {
        cancelTimer()
        client.current?.lost(error)
        reject(error)
      },
    })
  })
}

/** The error of who gives up connecting. */
export function givenUp(): PosternError {
  return new PosternError('CANCELLED', 'connecting was given up')
}

/** Returns the time and chance that a connection goes by. */
export function ambientOf({ clock, random }: Pick<ConnectionOptions, 'clock' | 'random'>): {
  readonly clock: Clock
  readonly random: Random
} {
  return { clock: clock ?? systemClock, random: random ?? systemRandom }
}

function defaultSettings(): SessionSettings {
  const valueOf = (key: keyof typeof SESSION_SETTINGS): number =>
    SESSION_SETTINGS[key].defaultValue as number
  return {
    'tunnel.pingInterval': valueOf('tunnel.pingInterval'),
    'tunnel.silence': valueOf('tunnel.silence'),
    'limits.windowBytesMax': valueOf('limits.windowBytesMax'),
    'limits.sessionWindowBytesMax': valueOf('limits.sessionWindowBytesMax'),
    'rpc.messageBytesMax': valueOf('rpc.messageBytesMax'),
  }
}
