import type { Duplex } from 'node:stream'
import { readFileSync } from 'node:fs'
import type { Address } from '../../base/address.ts'
import { Listeners } from '../../base/listeners.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { dialFront, readServiceToken } from '../../carrier/carrier.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import type { WayName } from '../../config/carrier-settings.ts'
import { trustIn } from '../../transport/tls-options.ts'
import type { Egress } from '../../transport/egress.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import { Connector, judgeConnector, type ConnectorReport } from './connector.ts'
import { Ways, type WayReport } from './ways.ts'

/** What carries the bytes of a connection in place of TCP: where it leads, and how it is opened. */
export interface Carrier {
  readonly address: Address
  readonly open: (signal: AbortSignal) => Promise<Duplex>
}

/** How the ways to the gateways are. */
export interface CarriersReport {
  readonly ways: readonly WayReport[]
  /** Undefined: none is supervised. */
  readonly connector: ConnectorReport | undefined
}

/** The ways by which the agent comes to its gateways, and what carries them. */
export class Carriers {
  readonly ways: Ways
  /** A gateway has come by a connector, and no dial waits for it. */
  readonly arrived = new Listeners<undefined>()
  readonly #settings: AgentSettings
  readonly #ambient: Ambient
  readonly #egress: Egress
  readonly #connector: Connector | undefined

  /** @throws CONFIG_INVALID */
  constructor(settings: AgentSettings, ambient: Ambient, egress: Egress) {
    judgeCarriers(settings)
    this.#settings = settings
    this.#ambient = ambient
    this.#egress = egress
    this.#connector = settings.via.includes('cloudflare-connector')
      ? new Connector(settings, ambient, () => {
          this.arrived.tell(undefined)
        })
      : undefined
    this.ways = new Ways(settings.via, settings['backoff.way'], ambient.clock, ambient.random)
  }

  start(): void {
    this.#connector?.start()
  }

  /** Ends what carries bytes, once nothing is carried. */
  async drain(): Promise<void> {
    await this.#connector?.drain()
  }

  stop(): void {
    this.#connector?.stop()
  }

  /** What carries a way; undefined: TCP does. */
  carrierOf(way: WayName): Carrier | undefined {
    if (way === 'direct') return undefined
    const connector = this.#connector
    if (way === 'cloudflare-connector' && connector !== undefined)
      return { address: connector.address, open: (signal) => connector.open(signal) }
    return frontOf(this.#settings, this.#ambient, this.#egress)
  }

  /** Metrics of what is supervised, in Prometheus' text format; empty: it has none. */
  async metrics(): Promise<string> {
    return (await this.#connector?.metrics()) ?? ''
  }

  report(): CarriersReport {
    return { ways: this.ways.report(), connector: this.#connector?.report() }
  }
}

/** The control plane's front at Cloudflare, as the settings name it. */
export function frontOf(settings: AgentSettings, { clock }: Ambient, egress: Egress): Carrier {
  const { 'cloudflare.caFile': caFile, 'cloudflare.serviceTokenFile': tokenFile } = settings
  const address = settings['cloudflare.address']
  if (address === undefined) throw new RangeError('judged at the start')
  return {
    address,
    open: async (signal) =>
      await dialFront({
        address,
        caPem: caFile === undefined ? undefined : readRoots(caFile),
        // Read anew: a token is replaced on disk, and nobody restarts for it.
        token: tokenFile === undefined ? undefined : readServiceToken(tokenFile),
        ...{ egress, clock, signal },
      }),
  }
}

/** Judges the settings of carriers, with the files that they name. @throws CONFIG_INVALID, FILE_UNREADABLE, KEY_EXPOSED */
export function judgeCarriers(settings: AgentSettings): void {
  const { via } = settings
  if (via.includes('cloudflare-dial')) {
    needs(settings, 'cloudflare-dial', 'cloudflare.address')
    const tokenFile = settings['cloudflare.serviceTokenFile']
    if (tokenFile !== undefined) readServiceToken(tokenFile)
    const caFile = settings['cloudflare.caFile']
    if (caFile !== undefined) trustIn(readRoots(caFile))
  }
  if (via.includes('cloudflare-connector')) {
    needs(settings, 'cloudflare-connector', 'cloudflared.tokenFile')
    judgeConnector(settings)
  }
}

function needs(settings: AgentSettings, way: WayName, key: keyof AgentSettings): void {
  if (settings[key] === undefined)
    throw new PosternError('CONFIG_INVALID', `via: ${way} needs ${key}`)
}

/** @throws FILE_UNREADABLE */
function readRoots(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw asPosternError(error, 'FILE_UNREADABLE')
  }
}

export { judgeProgram } from './program.ts'
export { judgeTunnelToken } from './connector.ts'
export type { ConnectorReport } from './connector.ts'
export { Ways, type WayReport } from './ways.ts'
