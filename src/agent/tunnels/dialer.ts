import { asPosternError, PosternError } from '../../base/errors.ts'
import { VERSION } from '../../base/version.ts'
import { addressText, type Address } from '../../base/address.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { Tunnel as TunnelService, type RegisterResponse } from '../../gen/postern/v1/tunnel_pb.js'
import { unaryClientOf } from '../../rpc/typed.ts'
import type { Egress } from '../../transport/egress.ts'
import { dialTls } from '../../transport/tls-dial.ts'
import type { TlsFacts, TlsWire } from '../../transport/tls-wire.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { RpcConnection } from '../../tunnel/rpc-connection.ts'
import { CANARY_FEATURE, NARROW_FEATURE } from '../../contract/features.ts'
import type { WayName } from '../../config/carrier-settings.ts'
import type { Carriers } from '../carriers/carriers.ts'
import type { AgentCredential } from '../credential/credential.ts'
import { OwnChannel, type AgentGuard } from '../guard/guard.ts'
import type { Services } from '../services/services.ts'
import type { CredentialStore } from '../credential/credential.ts'
import type { GatewayDirectory } from './gateway-directory.ts'
import type { OtherTunnels } from './tunnel-set.ts'

const INSTANCE_BYTES = 16
const HELD_MS = 300_000
/** The gateway ended it for reasons of its own. */
const NO_FAULT_OF_WAYS: readonly string[] = ['GOING_AWAY', 'SHUTDOWN', 'GATEWAY_HELD']

/** The values and collaborators that Dialer is given. */
export interface DialerPorts {
  readonly settings: AgentSettings
  readonly ambient: Ambient
  readonly store: CredentialStore
  readonly guard: AgentGuard
  readonly services: Services
  readonly egress: Egress
  readonly carriers: Carriers
  readonly directory: GatewayDirectory
  /** A gateway let us in, and told its time, in wall-clock ms. */
  readonly onWelcome: (gatewayTimeMs: number, rttMs: number) => void
}

/** What is remembered of a connection that was dialled. */
export interface Dialled {
  readonly address: Address
  readonly way: WayName
  /** The tunnel that it is for. */
  readonly by: OtherTunnels
  readonly credential: AgentCredential
  /** Of what was offered when it was registered; undefined until then. */
  version: number | undefined
}

/** Brings a tunnel to a gateway: picks one, dials it, judges it, and registers there. */
export class Dialer {
  readonly #ports: DialerPorts
  readonly #instance: string
  readonly #dialled = new WeakMap<TlsFacts, Dialled>()
  /** By tunnel: a way that led to a gateway which another one is with. */
  readonly #held = new WeakMap<OtherTunnels, { readonly way: WayName; readonly untilMs: number }>()

  constructor(ports: DialerPorts) {
    this.#ports = ports
    this.#instance = ports.ambient.random.hex(INSTANCE_BYTES)
  }

  /** The address that a connection was dialled at. */
  addressOf(facts: TlsFacts): Address | undefined {
    return this.#dialled.get(facts)?.address
  }

  /** Where, and by which way, a connection was dialled. */
  dialled(facts: TlsFacts): Pick<Dialled, 'address' | 'way'> | undefined {
    return this.#dialled.get(facts)
  }

  /** The connection stands on another credential than the present one, the gateway knows other offers than ours, or there is a better way. */
  isOutdated(facts: TlsFacts): boolean {
    const dialled = this.#dialled.get(facts)
    if (dialled === undefined) return false
    const { store, services, carriers } = this.#ports
    const { credential, version = services.version, way } = dialled
    const isRenewed = credential !== store.credential || version !== services.version
    return isRenewed || carriers.ways.isOutdone(way, this.#heldWay(dialled.by))
  }

  /** Dials the next gateway, and judges it. @throws the network and identity codes, CERT_EXPIRED for our own, GATEWAY_HELD */
  async dial(by: OtherTunnels, signal: AbortSignal): Promise<TlsWire> {
    const { store, ambient, carriers } = this.#ports
    const { credential } = store
    const nowMs = ambient.clock.wallMs()
    if (credential.notAfterMs <= nowMs) {
      const ended = new Date(credential.notAfterMs).toISOString()
      const failure = store.renewalError
      const why =
        failure === undefined || failure.recovery === 'retry'
          ? 'it is being renewed'
          : `it cannot be renewed: ${failure.code}: ${failure.rawMessage}`
      const text = `our certificate expired on ${ended}, by our clock; ${why}`
      throw new PosternError('CERT_EXPIRED', text)
    }
    const way = carriers.ways.next(this.#heldWay(by))
    try {
      return await this.#dialBy(way, by, credential, signal)
    } catch (error) {
      this.#failed(way, by, asPosternError(error))
      throw error
    }
  }

  /** A connection that was up fell before it could count as lasting. */
  fell(facts: TlsFacts, cause: PosternError): void {
    const dialled = this.#dialled.get(facts)
    if (dialled === undefined || NO_FAULT_OF_WAYS.includes(cause.code)) return
    this.#failed(dialled.way, dialled.by, cause)
  }

  /** A way that leads to a gateway which another tunnel is with is no worse for it: this tunnel tries the others for a while. */
  #failed(way: WayName, by: OtherTunnels, cause: PosternError): void {
    const { carriers, ambient } = this.#ports
    if (cause.code !== 'GATEWAY_HELD') carriers.ways.failed(way, cause)
    else if (way !== 'direct') this.#held.set(by, { way, untilMs: ambient.clock.nowMs() + HELD_MS })
  }

  #heldWay(by: OtherTunnels): WayName | undefined {
    const found = this.#held.get(by)
    if (found === undefined || found.untilMs <= this.#ports.ambient.clock.nowMs()) return undefined
    return found.way
  }

  async #dialBy(
    way: WayName,
    by: OtherTunnels,
    credential: AgentCredential,
    signal: AbortSignal,
  ): Promise<TlsWire> {
    const { settings, ambient, egress, directory, carriers } = this.#ports
    const nowMs = ambient.clock.wallMs()
    const carrier = carriers.carrierOf(way)
    const { held } = by
    const address = carrier?.address ?? directory.next(held())
    const wire = await dialTls({
      ...address,
      // The inner certificate names the gateway, and not the host of a carrier.
      serverName: settings['gateway.serverName'] ?? (carrier && settings['gateway.address'].host),
      credential,
      ...(carrier === undefined ? {} : { carrier: carrier.open }),
      expected: { trustDomain: settings.trustDomain, roles: ['gateway'] },
      signal,
      nowMs,
      egress,
      lookup: {
        fraction: () => ambient.random.fraction(),
        onResolved: (records) => {
          directory.resolved(address, records)
        },
      },
    })
    const refusal = this.refusalOf(wire.facts) ?? this.#heldElsewhere(wire.facts, address, held)
    if (refusal !== undefined) {
      wire.dismiss(refusal)
      throw refusal
    }
    this.#dialled.set(wire.facts, { address, way, by, credential, version: undefined })
    return wire
  }

  /** Why a gateway is refused whose chain was verified. */
  refusalOf({ certificate, identity }: TlsFacts): PosternError | undefined {
    const { store, guard } = this.#ports
    return guard.regionRefusal(identity) ?? store.refusalOf(certificate)
  }

  /** The first call of a connection; its answer is the welcome. @throws RpcError, GATEWAY_HELD */
  async register({ held }: OtherTunnels, connection: RpcConnection): Promise<RegisterResponse> {
    const { settings, store, guard, services, directory, carriers, onWelcome } = this.#ports
    const client = unaryClientOf(TunnelService, new OwnChannel(guard.guard, connection))
    const { cluster, agent } = store.credential.identity
    const request = {
      agentVersion: VERSION,
      cluster,
      agent,
      ...this.#offers(),
      features: [CANARY_FEATURE, NARROW_FEATURE],
      bundleVersion: store.trust.version,
      instance: this.#instance,
      ...(services.described === undefined ? {} : { descriptorsHash: services.described.hash }),
    }
    const dialled = this.#dialled.get(connection.facts)
    if (dialled !== undefined) dialled.version = services.version
    const timeoutMs = settings['tunnel.dialTimeout']
    const welcome = await client.register(request, { timeoutMs }).catch((error: unknown) => {
      if (dialled !== undefined) this.#failed(dialled.way, dialled.by, asPosternError(error))
      throw error
    })
    if (dialled !== undefined) carriers.ways.worked(dialled.way)
    const { facts } = connection
    const address = this.addressOf(facts)
    // A list may have come, or another tunnel up, while this connection was made.
    const refusal = this.refusalOf(facts) ?? this.#heldElsewhere(facts, address, held)
    if (refusal !== undefined) {
      if (dialled !== undefined) this.#failed(dialled.way, dialled.by, refusal)
      connection.close(refusal)
      throw refusal
    }
    const { identity } = facts
    if (identity.role === 'gateway' && address !== undefined)
      directory.answered(address, identity.gateway, welcome.zone)
    directory.tell(welcome.gateways)
    onWelcome(Number(welcome.timeMs), connection.session.rttMs ?? 0)
    return welcome
  }

  #offers(): { methods: object[]; services: object[] } {
    const methods = []
    const services = []
    for (const { name, data, handler } of this.#ports.services.server.offers) {
      if (handler.kind === 'forward') services.push({ name, dataType: data.carries })
      else methods.push({ name, dataType: data.carries, kind: handler.kind })
    }
    return { methods, services }
  }

  #heldElsewhere(
    { identity }: TlsFacts,
    address: Address | undefined,
    held: OtherTunnels['held'],
  ): PosternError | undefined {
    if (identity.role !== 'gateway' || address === undefined) return undefined
    const { gateway } = identity
    if (!held().some((one) => one.gateway === gateway)) return undefined
    this.#ports.directory.answered(address, gateway, '')
    this.#ports.directory.repeated(address)
    const text = `${addressText(address)} leads to ${gateway}, which another tunnel is with`
    return new PosternError('GATEWAY_HELD', text)
  }
}
