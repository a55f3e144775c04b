import type { GatewaySettings } from '../../config/gateway-settings.ts'
import type { Credential } from '../../identity/key-files.ts'
import type { Role } from '../../identity/name.ts'
import type { HandshakeLimits } from '../../transport/handshake-gate.ts'
import type { NetworkBudget } from '../../transport/network-budget.ts'
import type { TrustedProxies } from '../../transport/trusted-proxies.ts'
import { TlsListener } from '../../transport/tls-accept.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { PeerWire } from '../../tunnel/rpc-connection.ts'
import { wrongPort } from './wrong-port.ts'

/** The values and collaborators that `peerListener` is given. */
export interface PeerListenerPorts {
  readonly settings: GatewaySettings
  readonly ambient: Ambient
  readonly credential: Credential
  /** What the networks of strangers may cost, over all listeners. */
  readonly strangers: NetworkBudget
  readonly proxies: TrustedProxies
}

/** Makes the mutual-TLS listener of one role. `take`: gets each connection whose peer was judged to be of it. */
export function peerListener(
  key: 'agents.listen' | 'callers.listen',
  role: Role,
  { settings, ambient, credential, strangers, proxies }: PeerListenerPorts,
  take: (wire: PeerWire) => void,
): TlsListener {
  return new TlsListener({
    address: settings[key],
    credential,
    expected: {
      trustDomain: settings.trustDomain,
      roles: [role],
      elsewhere: wrongPort(settings, key),
    },
    limits: handshakeLimits(settings),
    budget: strangers,
    proxies,
    clock: ambient.clock,
    logger: ambient.logger.child({ component: `${role}s` }),
    onPeer: take,
  })
}

/** The limits of the settings on who is not authenticated yet. */
export function handshakeLimits(settings: GatewaySettings): HandshakeLimits {
  return {
    pendingMax: settings['handshake.pendingMax'],
    pendingPerAddressMax: settings['handshake.pendingPerAddressMax'],
    timeoutMs: settings['handshake.timeout'],
    bytesMax: settings['handshake.bytesMax'],
  }
}
