import { refuseStreams } from '../mux/session-owner.ts'
import { PosternError } from '../base/errors.ts'
import { silentLogger, type Logger } from '../base/logger.ts'
import type { Clock } from '../base/clock.ts'
import { type Random, systemRandom } from '../base/random.ts'
import { systemClock } from '../base/system-clock.ts'
import type { Address } from '../base/address.ts'
import { CALLER_SETTINGS, type CallerSettings } from '../config/gateway-settings.ts'
import { readCredential, type KeyFilePaths } from '../identity/key-files.ts'
import { dialTls } from '../transport/tls-dial.ts'
import { processParts } from '../tunnel/process-parts.ts'
import { RpcConnection } from '../tunnel/rpc-connection.ts'
import { GatewayClient } from './gateway-client.ts'

/** The values and collaborators that `connectGateway` is given. */
export interface ConnectOptions {
  /** The caller listener of the gateway. */
  readonly address: Address
  /** DNS name that the gateway's certificate must hold. Default: the host of `address`. */
  readonly serverName?: string
  readonly trustDomain: string
  /** A certificate of role caller, its key, and the roots to trust. */
  readonly files: KeyFilePaths
  /** Longest time to connect, in ms. Default 10 000. */
  readonly timeoutMs?: number
  readonly logger?: Logger
  /** Time and chance, for tests. Default: the real ones. */
  readonly clock?: Clock
  readonly random?: Random
  /** Session settings by their names in docs/SETTINGS.md. Default: those of the commands. */
  readonly settings?: Partial<CallerSettings>
}

const CONNECT_MS = 10_000

/**
 * Connects once; a connection that is lost is not made again, as only the caller knows which of its
 * calls may be repeated. @throws PosternError with the network, TLS and identity codes
 */
export async function connectGateway(options: ConnectOptions): Promise<GatewayClient> {
  const { address, serverName, trustDomain, files, timeoutMs = CONNECT_MS } = options
  const { clock, random } = ambientOf(options)
  const ambient = {
    clock,
    random,
    logger: options.logger ?? silentLogger,
  }
  const credential = readCredential(files, 'caller', clock.wallMs())
  const parts = processParts({ ...defaultSettings(), ...options.settings }, ambient)
  const expected = { trustDomain, roles: ['gateway'] as const }
  const nowMs = clock.wallMs()
  const startMs = clock.nowMs()
  const wire = await dialTls({ ...address, serverName, credential, expected, timeoutMs, nowMs })
  return await new Promise((resolve, reject) => {
    const client: { current?: GatewayClient } = {}
    let isDraining = false
    const leftMs = Math.max(0, timeoutMs - (clock.nowMs() - startMs))
    const cancelTimer = clock.startTimer(leftMs, () => {
      reject(new PosternError('DIAL_TIMEOUT', 'the gateway sent no hello in time'))
      wire.destroy()
    })
    new RpcConnection(wire, 'dialer', parts, {
      onReady: (connection) => {
        cancelTimer()
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

/** Returns the time and chance that a connection goes by. */
export function ambientOf({ clock, random }: Pick<ConnectOptions, 'clock' | 'random'>): {
  readonly clock: Clock
  readonly random: Random
} {
  return { clock: clock ?? systemClock, random: random ?? systemRandom }
}

function defaultSettings(): CallerSettings {
  const entries = Object.entries(CALLER_SETTINGS).map(([key, setting]) => [
    key,
    setting.defaultValue as unknown,
  ])
  return Object.fromEntries(entries) as CallerSettings
}
