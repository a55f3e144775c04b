import { PosternError } from '../base/errors.ts'
import { VERSION } from '../base/version.ts'
import { addressText, type Address } from '../config/address.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { Tunnel as TunnelService, type RegisterResponse } from '../gen/postern/v1/tunnel_pb.js'
import { clientOf } from '../rpc/typed.ts'
import type { Egress } from '../transport/egress.ts'
import { dialTls } from '../transport/tls-dial.ts'
import type { TlsFacts, TlsWire } from '../transport/tls-wire.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import type { RpcConnection } from '../tunnel/rpc-connection.ts'
import { CANARY_FEATURE } from './canaries.ts'
import type { GatewayCrls } from './gateway-crls.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import type { Places } from './places.ts'
import type { Serving } from './serving.ts'
import type { TunnelCare } from './tunnel-care.ts'
import type { Slot } from './tunnels.ts'

const INSTANCE_BYTES = 16

export interface GatewayLinkParts {
  readonly settings: AgentSettings
  readonly ambient: Ambient
  readonly keeper: IdentityKeeper
  readonly crls: GatewayCrls
  readonly egress: Egress
  readonly places: Places
  readonly care: () => TunnelCare
  readonly serving: () => Serving
  /** Why the last renewal failed, if it did. */
  readonly renewalError: () => PosternError | undefined
}

/** How a tunnel comes to a gateway: picks one, dials it, judges it, and registers there. */
export class GatewayLink {
  readonly #parts: GatewayLinkParts
  readonly #instance: string
  readonly #addresses = new WeakMap<TlsFacts, Address>()
  /** What was offered when each connection was registered. */
  readonly #versions = new WeakMap<TlsFacts, number>()

  constructor(parts: GatewayLinkParts) {
    this.#parts = parts
    this.#instance = parts.ambient.random.hex(INSTANCE_BYTES)
  }

  /** Where a connection of ours was dialled. */
  addressOf(facts: TlsFacts): Address | undefined {
    return this.#addresses.get(facts)
  }

  /** What the gateway was told that we offer has changed since. */
  isOutdated(facts: TlsFacts): boolean {
    const version = this.#versions.get(facts)
    return version !== undefined && version !== this.#parts.serving().version
  }

  /** @throws the network and identity codes, CERT_EXPIRED for our own, GATEWAY_HELD */
  async dial({ held }: Slot, signal: AbortSignal): Promise<TlsWire> {
    const { settings, ambient, keeper, egress, places, care } = this.#parts
    const { credential } = keeper
    const nowMs = ambient.clock.wallMs()
    if (credential.notAfterMs <= nowMs) {
      const ended = new Date(credential.notAfterMs).toISOString()
      const failure = this.#parts.renewalError()
      const why =
        failure === undefined || failure.recovery === 'retry'
          ? 'it is being renewed'
          : `it cannot be renewed: ${failure.code}: ${failure.rawMessage}`
      const text = `our certificate expired on ${ended}, by our clock; ${why}`
      throw new PosternError('CERT_EXPIRED', text)
    }
    const address = places.next(held())
    const wire = await dialTls({
      ...address,
      serverName: settings['gateway.serverName'],
      credential,
      expected: { trustDomain: settings.trustDomain, roles: ['gateway'] },
      signal,
      nowMs,
      egress,
      lookup: {
        fraction: () => ambient.random.fraction(),
        onResolved: (records) => {
          places.resolved(address, records)
        },
      },
    })
    const refusal = this.refusalOf(wire.facts) ?? this.#heldElsewhere(wire.facts, address, held)
    if (refusal !== undefined) {
      wire.dismiss(refusal)
      throw refusal
    }
    this.#addresses.set(wire.facts, address)
    care().dialled(wire.facts, credential)
    return wire
  }

  /** Why a gateway is refused whose chain was verified. */
  refusalOf({ certificate }: TlsFacts): PosternError | undefined {
    return this.#parts.crls.refusalOf(certificate, this.#parts.keeper.trust.issuingKeys)
  }

  /** The first call of a connection; its answer is the welcome. @throws RpcError, GATEWAY_HELD */
  async register({ held }: Slot, connection: RpcConnection): Promise<RegisterResponse> {
    const { settings, keeper, places, care } = this.#parts
    const client = clientOf(TunnelService, connection.channel())
    const { cluster, agent } = keeper.credential.identity
    const request = {
      agentVersion: VERSION,
      cluster,
      agent,
      ...this.#offers(),
      features: [CANARY_FEATURE],
      bundleVersion: keeper.trust.version,
      instance: this.#instance,
    }
    this.#versions.set(connection.facts, this.#parts.serving().version)
    const timeoutMs = settings['tunnel.dialTimeout']
    const welcome = await client.register(request, { timeoutMs })
    const { facts } = connection
    const address = this.addressOf(facts)
    // A list may have come, or another tunnel up, while this connection was made.
    const refusal = this.refusalOf(facts) ?? this.#heldElsewhere(facts, address, held)
    if (refusal !== undefined) {
      connection.close(refusal)
      throw refusal
    }
    const { identity } = facts
    if (identity.role === 'gateway' && address !== undefined)
      places.answered(address, identity.gateway, welcome.zone)
    places.tell(welcome.gateways)
    care().welcomed(Number(welcome.timeMs), connection.session.rttMs ?? 0)
    return welcome
  }

  #offers(): { methods: object[]; services: object[] } {
    const methods = []
    const services = []
    for (const { name, dataType, handler } of this.#parts.serving().server.offers) {
      if (handler.kind === 'forward') services.push({ name, dataType })
      else methods.push({ name, dataType, kind: handler.kind })
    }
    return { methods, services }
  }

  #heldElsewhere(
    { identity }: TlsFacts,
    address: Address | undefined,
    held: Slot['held'],
  ): PosternError | undefined {
    if (identity.role !== 'gateway' || address === undefined) return undefined
    const { gateway } = identity
    if (!held().some((one) => one.gateway === gateway)) return undefined
    this.#parts.places.answered(address, gateway, '')
    this.#parts.places.repeated(address)
    const text = `${addressText(address)} leads to ${gateway}, which another tunnel is with`
    return new PosternError('GATEWAY_HELD', text)
  }
}
