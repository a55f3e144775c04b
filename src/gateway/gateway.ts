import type { CancelTimer } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { GatewaySettings } from '../config/gateway-settings.ts'
import { readCredential, type Credential } from '../identity/key-files.ts'
import { identityUri, type Identity, type Role } from '../identity/name.ts'
import type { AddressInfo } from '../transport/https-listen.ts'
import { TlsListener } from '../transport/tls-accept.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import type { PeerWire, ProcessParts, RpcConnection } from '../tunnel/rpc-connection.ts'
import { AgentSide } from './agent-side.ts'
import { Enrolment } from './enrolment.ts'
import { CallerSide } from './caller-side.ts'
import { PeerShares } from './peer-shares.ts'
import { Registry } from './registry.ts'

const DRAIN_POLL_MS = 50

export interface GatewayAddresses {
  readonly agents: AddressInfo
  readonly callers: AddressInfo
  /** Where there is a CA. */
  readonly enroll?: AddressInfo
  readonly renew?: AddressInfo
}

/** The control-plane end: takes tunnels from agents, and calls from services, and joins them. */
export class Gateway {
  readonly registry = new Registry()
  readonly parts: ProcessParts
  readonly #settings: GatewaySettings
  readonly #ambient: Ambient
  readonly #agentSide: AgentSide
  readonly #callerSide: CallerSide
  readonly #agentListener: TlsListener
  readonly #callerListener: TlsListener
  readonly #enrolment: Enrolment | undefined

  /** @throws what readCredential throws */
  constructor(settings: GatewaySettings, ambient: Ambient) {
    this.#settings = settings
    this.#ambient = ambient
    const { registry } = this
    const parts = processParts(settings, ambient)
    this.parts = parts
    const credential = gatewayCredential(settings, ambient.clock.wallMs())
    const { identity } = credential
    const registerTimeoutMs = settings['handshake.timeout']
    const agentLogger = ambient.logger.child({ component: 'agents' })
    const whole = parts.budget
    const agentConnectionsMax = settings['limits.tunnelsPerAgentMax']
    const callerConnectionsMax = settings['limits.connectionsPerCallerMax']
    this.#agentSide = new AgentSide({
      parts,
      registry,
      shares: new PeerShares({ whole, fraction: 1 / 8, connectionsMax: agentConnectionsMax }),
      identity,
      logger: agentLogger,
      registerTimeoutMs,
      issuer: () => this.#enrolment?.issuer,
    })
    const callerLogger = ambient.logger.child({ component: 'callers' })
    this.#callerSide = new CallerSide({
      parts,
      registry,
      shares: new PeerShares({ whole, fraction: 1 / 4, connectionsMax: callerConnectionsMax }),
      logger: callerLogger,
    })
    const limits = {
      pendingMax: settings['handshake.pendingMax'],
      pendingPerAddressMax: settings['handshake.pendingPerAddressMax'],
      timeoutMs: settings['handshake.timeout'],
      bytesMax: settings['handshake.bytesMax'],
    }
    const directory = settings['ca.directory']
    if (directory !== undefined)
      this.#enrolment = new Enrolment({ settings, directory, credential, limits, ambient })
    const listener = (
      key: 'agents.listen' | 'callers.listen',
      role: Role,
      take: (wire: PeerWire) => void,
    ): TlsListener =>
      new TlsListener({
        address: settings[key],
        credential,
        expected: { trustDomain: settings.trustDomain, roles: [role] },
        limits,
        clock: ambient.clock,
        logger: role === 'agent' ? agentLogger : callerLogger,
        onPeer: take,
      })
    this.#agentListener = listener('agents.listen', 'agent', (wire) => {
      this.#agentSide.take(wire)
    })
    this.#callerListener = listener('callers.listen', 'caller', (wire) => {
      this.#callerSide.take(wire)
    })
  }

  /** Resolves to the addresses bound. @throws LISTEN_FAILED, RECORDS_UNUSABLE */
  async start(): Promise<GatewayAddresses> {
    try {
      // Who may come in is known before anybody can knock.
      const enrolment = await this.#enrolment?.start()
      const agents = await this.#agentListener.listen()
      const callers = await this.#callerListener.listen()
      const bound: GatewayAddresses = { agents, callers, ...enrolment }
      const where = ({ address, port }: AddressInfo): string => `${address}:${String(port)}`
      const facts: Record<string, string> = {}
      for (const [name, info] of Object.entries(bound)) facts[name] = where(info as AddressInfo)
      this.#ambient.logger.info(facts, 'gateway is listening')
      return bound
    } catch (error) {
      this.stop()
      throw error
    }
  }

  get relayed(): number {
    return this.#callerSide.relayed
  }

  /** No new calls and tunnels; running calls finish, up to the grace of `drain.grace`. */
  async drain(): Promise<void> {
    this.#agentListener.close()
    this.#callerListener.close()
    for (const { session } of this.#connections())
      session.goAway('SHUTDOWN', 'the gateway is stopping')
    const { clock } = this.#ambient
    const endAtMs = clock.nowMs() + this.#settings['drain.grace']
    await new Promise<void>((resolve) => {
      const look = (): CancelTimer | undefined => {
        const isBusy = this.#connections().some(({ session }) => session.streamCount > 0)
        if (isBusy && clock.nowMs() < endAtMs) return clock.startTimer(DRAIN_POLL_MS, look)
        resolve()
        return undefined
      }
      look()
    })
    this.stop()
  }

  /** Stops at once. */
  stop(): void {
    this.#agentListener.close()
    this.#callerListener.close()
    void this.#enrolment?.close()
    for (const connection of this.#connections()) {
      connection.close(new PosternError('SHUTDOWN', 'the gateway is stopping'))
    }
  }

  #connections(): RpcConnection[] {
    return [...this.#agentSide.connections, ...this.#callerSide.connections]
  }
}

type GatewayCredential = Credential & {
  readonly identity: Extract<Identity, { role: 'gateway' }>
}

/** @throws what readCredential throws */
function gatewayCredential(settings: GatewaySettings, nowMs: number): GatewayCredential {
  const paths = {
    certificateFile: settings['identity.certificateFile'],
    keyFile: settings['identity.keyFile'],
    bundleFile: settings['identity.bundleFile'],
  }
  const credential = readCredential(paths, 'gateway', nowMs)
  const { identity } = credential
  if (identity.role === 'gateway' && identity.trustDomain === settings.trustDomain)
    return credential as GatewayCredential
  const text = `our certificate names ${identityUri(identity)}, the setting trustDomain ${settings.trustDomain}`
  throw new PosternError('CERTIFICATE_UNUSABLE', text)
}
