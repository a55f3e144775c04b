import { printable } from '../../base/errors.ts'
import { addressText, type Address } from '../../base/address.ts'
import type { WayName } from '../../config/carrier-settings.ts'
import type { TlsFacts } from '../../transport/tls-wire.ts'
import type { Dialled } from './dialer.ts'
import type { Tunnel } from '../../tunnel/tunnel.ts'

/** How one tunnel is. Times in wall-clock ms. */
export interface TunnelReport {
  readonly state: Tunnel['state']['name']
  /** Since when it is up; undefined while it is not. */
  readonly sinceMs: number | undefined
  /** Where it was dialled; while it is not up, gateway.address of the settings. */
  readonly address: string
  /** The way that it took; undefined while it is not up. */
  readonly via: WayName | undefined
  /** Name and region of the gateway, by its certificate. */
  readonly gateway: string | undefined
  readonly region: string | undefined
  readonly gatewayVersion: string | undefined
  /** Name that the gateway gives itself: canary calls go by it. */
  readonly welcomedBy: string | undefined
  readonly tlsVersion: string | undefined
  readonly cipher: string | undefined
  readonly keyExchange: string | undefined
  readonly rttMs: number | undefined
  readonly streams: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** When the next dial is due; undefined while none waits. */
  readonly nextTryAtMs: number | undefined
  /** Dials since the last success. */
  readonly attempt: number
}

/** Says how a tunnel is. `dialledAt`: where a connection was dialled; `usual`: the address to show while there is none. */
export function reportTunnel(
  { state }: Tunnel,
  dialledAt: (facts: TlsFacts) => Pick<Dialled, 'address' | 'way'> | undefined,
  usual: Address,
): TunnelReport {
  const ready = state.name === 'ready' ? state : undefined
  const facts = ready?.connection.facts
  const session = ready?.connection.session
  const identity = facts?.identity.role === 'gateway' ? facts.identity : undefined
  const dialled = facts === undefined ? undefined : dialledAt(facts)
  return {
    state: state.name,
    sinceMs: ready?.sinceWallMs,
    address: addressText(dialled?.address ?? usual),
    via: dialled?.way,
    gateway: identity?.gateway,
    region: identity?.region,
    gatewayVersion: ready === undefined ? undefined : printable(ready.welcome.gatewayVersion),
    welcomedBy: ready?.welcome.gateway,
    tlsVersion: facts?.tlsVersion,
    cipher: facts?.cipher,
    keyExchange: facts?.group,
    rttMs: session?.rttMs,
    streams: session?.streamCount ?? 0,
    bytesIn: session?.bytesIn ?? 0,
    bytesOut: session?.bytesOut ?? 0,
    nextTryAtMs: state.name === 'backoff' ? state.untilWallMs : undefined,
    attempt: state.name === 'backoff' || state.name === 'connecting' ? state.attempt : 0,
  }
}
