import { placesToTell } from './places-to-tell.ts'
import { wrongPort } from './wrong-port.ts'
import type { CancelTimer } from '../base/clock.ts'
import { PosternError } from '../base/errors.ts'
import type { GatewaySettings } from '../config/gateway-settings.ts'
import type { KeyProtection } from '../identity/key-protection.ts'
import { identityUri, type Role } from '../identity/name.ts'
import { readProtection } from '../identity/passphrase.ts'
import type { HandshakeLimits } from '../transport/handshake-gate.ts'
import type { AddressInfo } from '../transport/https-listen.ts'
import { NetworkBudget } from '../transport/network-budget.ts'
import { testMutualTls } from '../transport/self-test.ts'
import { TlsListener } from '../transport/tls-accept.ts'
import type { TlsFacts } from '../transport/tls-wire.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import type { PeerWire, ProcessParts, RpcConnection } from '../tunnel/rpc-connection.ts'
import { Admission } from './admission.ts'
import { AgentSide } from './agent-side.ts'
import { CallerSide } from './caller-side.ts'
import { Canary } from './canary.ts'
import type { Connected } from './ca-change.ts'
import { CloneWatch } from './clone-watch.ts'
import { comebackMs } from './comeback.ts'
import { credentialsOf } from './denials.ts'
import { Enrolment } from './enrolment.ts'
import { Notices } from './notices.ts'
import { OwnIdentity } from './own-identity.ts'
import { PeerShares } from './peer-shares.ts'
import { Registry, type AgentTunnel } from './registry.ts'
import { Turnstile } from './turnstile.ts'

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
  readonly own: OwnIdentity
  readonly turnstile: Turnstile
  /** What the networks of strangers may cost, over all listeners. */
  readonly #strangers: NetworkBudget
  #settings: GatewaySettings
  readonly #ambient: Ambient
  readonly #agentSide: AgentSide
  readonly #callerSide: CallerSide
  readonly #agentListener: TlsListener
  readonly #callerListener: TlsListener
  readonly #notices: Notices
  readonly #clones: CloneWatch
  readonly #canary: Canary
  #protection: KeyProtection
  #admission: Admission | undefined
  #enrolment: Enrolment | undefined
  #isDraining = false

  /** @throws CONFIG_INVALID, and what reading the identity throws */
  constructor(settings: GatewaySettings, ambient: Ambient) {
    this.#settings = settings
    this.#ambient = ambient
    if (settings['ca.directory'] !== undefined && settings['records.file'] === undefined)
      throw new PosternError(
        'CONFIG_INVALID',
        'records.file is missing: ca.directory needs a store',
      )
    this.#protection = protectionOf(settings)
    this.own = new OwnIdentity(settings, this.#protection, ambient.clock)
    this.parts = processParts(settings, ambient)
    this.turnstile = new Turnstile(settings['admission.rate'], settings['admission.burst'])
    this.#strangers = new NetworkBudget(ambient.clock)
    this.#agentSide = this.#makeAgentSide()
    this.#callerSide = this.#makeCallerSide()
    this.#agentListener = this.#listener('agents.listen', 'agent', (wire) => {
      this.#agentSide.take(wire)
    })
    this.#callerListener = this.#listener('callers.listen', 'caller', (wire) => {
      this.#callerSide.take(wire)
    })
    const { clock, logger } = ambient
    const { registry } = this
    this.#notices = new Notices({
      registry,
      enrolment: () => this.#enrolment,
      clock,
      logger: logger.child({ component: 'notices' }),
      renewSpreadMs: settings['ca.renewSpread'],
    })
    this.#canary = this.#makeCanary()
    this.#clones = new CloneWatch({
      registry,
      clock,
      pingIntervalMs: settings['tunnel.pingInterval'],
      onClone: (tunnels) => {
        this.#cloned(tunnels)
      },
    })
  }

  /** Resolves to the addresses bound. @throws LISTEN_FAILED, RECORDS_UNUSABLE, RUNTIME_UNSUPPORTED, and what reading the CAs throws */
  async start(): Promise<GatewayAddresses> {
    try {
      // Who may come in is known before anybody can knock.
      await this.#open()
      if (!(await testMutualTls(this.own.credential, this.#ambient.clock)))
        this.#ambient.logger.warn({}, 'our own trust bundle does not vouch for us')
      const enrolment = await this.#enrolment?.listen()
      const agents = await this.#agentListener.listen()
      const callers = await this.#callerListener.listen()
      this.#admission?.start()
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

  get settings(): GatewaySettings {
    return this.#settings
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  /** What callers' calls and forwards came to since the start. */
  get traffic(): Pick<CallerSide, 'relayed' | 'counts' | 'bytes'> {
    return this.#callerSide
  }

  get callers(): { callers: number; streams: number } {
    // Our own, of the canary, is none.
    const all = [...this.#callerSide.connections]
    const connections = all.filter(({ facts }) => facts.identity.role === 'caller')
    const streams = connections.reduce((sum, { session }) => sum + session.streamCount, 0)
    return { callers: connections.length, streams }
  }

  /** Who is connected, and by whose certificate. */
  get connected(): Connected[] {
    return this.#connections().flatMap(({ facts: { identity, certificate } }) => {
      // Our own, of the canary, has none.
      if (identity.role === 'gateway') return []
      const { issuer, cluster, agent } = credentialsOf(certificate, identity)
      const name = identity.role === 'agent' ? `${cluster}/${agent}` : identityUri(identity)
      return [{ identity: name, issuer }]
    })
  }

  get admission(): Admission | undefined {
    return this.#admission
  }

  get enrolment(): Enrolment | undefined {
    return this.#enrolment
  }

  /** Takes the identity's files as they are now, and what agents are told of gateways. @throws what reading them throws; nothing changes then */
  reload(next: GatewaySettings = this.#settings): void {
    const { 'agents.address': address, peers, zone, 'enroll.jwt': jwt } = next
    this.#settings = {
      ...this.#settings,
      'agents.address': address,
      peers,
      zone,
      'enroll.jwt': jwt,
    }
    this.#enrolment?.issuer.useJwtRows(jwt)
    const protection = protectionOf(this.#settings)
    this.own.reload(protection)
    this.#enrolment?.authorities.use(protection)
    this.#protection = protection
    this.#useCredential()
    this.#enrolment?.useCredential()
  }

  /** No new calls and tunnels; running calls finish, up to the grace of `drain.grace`. */
  async drain(): Promise<void> {
    this.#isDraining = true
    this.#agentListener.close()
    this.#callerListener.close()
    const text = 'the gateway is stopping'
    const perSecond = this.#settings['drain.reconnectRate']
    const agents = [...this.#agentSide.connections]
    for (const [index, { session }] of agents.entries()) {
      // All at once they would fall upon the next gateway.
      const reconnectAfterMs = comebackMs(index, agents.length, perSecond)
      session.goAway('SHUTDOWN', text, { reconnectAfterMs })
    }
    for (const { session } of this.#callerSide.connections) session.goAway('SHUTDOWN', text)
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
    this.#enrolment?.close()
    this.#canary.stop()
    for (const connection of this.#connections()) {
      connection.close(new PosternError('SHUTDOWN', 'the gateway is stopping'))
    }
    void this.#admission?.close()
  }

  /** The store, and the CAs where there are some. */
  async #open(): Promise<void> {
    const file = this.#settings['records.file']
    if (file === undefined) return
    const retention = {
      eventsKeepMs: this.#settings['records.eventsKeep'],
      eventsMax: this.#settings['records.eventsMax'],
      certificatesKeepMs: Math.max(
        this.#settings['records.certificatesKeep'],
        this.#settings['enroll.expiredGrace'],
      ),
    }
    const admission = await Admission.open(file, retention, this.#ambient)
    this.#admission = admission
    admission.onChange(() => {
      this.#agentSide.sweep()
      this.#callerSide.sweep()
    })
    const directory = this.#settings['ca.directory']
    if (directory === undefined) return
    this.#enrolment = new Enrolment({
      settings: this.#settings,
      directory,
      own: this.own,
      admission,
      protection: this.#protection,
      limits: this.#limits(),
      strangers: this.#strangers,
      ambient: this.#ambient,
      onOwnChanged: () => {
        this.#useCredential()
      },
      onNews: () => {
        this.#notices.broadcast()
      },
    })
    await this.#enrolment.prepare()
  }

  #useCredential(): void {
    this.#agentListener.use(this.own.credential)
    this.#callerListener.use(this.own.credential)
  }

  #judge(facts: TlsFacts): PosternError | undefined {
    return this.#admission?.judge(facts)
  }

  #makeAgentSide(): AgentSide {
    const { parts, registry, own } = this
    const settings = this.#settings
    const connectionsMax = settings['limits.tunnelsPerAgentMax']
    return new AgentSide({
      parts,
      registry,
      shares: new PeerShares({ whole: parts.budget, fraction: 1 / 8, connectionsMax }),
      identity: own.credential.identity,
      places: () => placesToTell(this.#settings, own.credential.identity.gateway),
      zone: settings.zone ?? '',
      logger: this.#ambient.logger.child({ component: 'agents' }),
      turnstile: this.turnstile,
      registerTimeoutMs: settings['handshake.timeout'],
      issuer: () => this.#enrolment?.issuer,
      judge: (facts) => this.#judge(facts),
      onRefused: (kind, facts, error) => {
        this.#admission?.note(kind, facts, `${error.code}: ${error.rawMessage}`)
      },
      onOddity: (kind, facts, text) => {
        this.#admission?.note(kind, facts, text)
      },
      onLeft: (tunnel) => {
        this.#canary.unwatch(tunnel)
      },
      onRegistered: (tunnel, bundleVersion) => {
        this.#notices.welcome(tunnel, bundleVersion)
        this.#clones.arrived(tunnel)
        this.#canary.watch(tunnel)
      },
    })
  }

  #makeCallerSide(): CallerSide {
    const { parts, registry } = this
    const connectionsMax = this.#settings['limits.connectionsPerCallerMax']
    return new CallerSide({
      parts,
      registry,
      shares: new PeerShares({ whole: parts.budget, fraction: 1 / 4, connectionsMax }),
      logger: this.#ambient.logger.child({ component: 'callers' }),
      judge: (facts) => this.#judge(facts),
      onRefused: (facts, error) => {
        this.#admission?.note('handshake.refused', facts, `${error.code}: ${error.rawMessage}`)
      },
    })
  }

  #makeCanary(): Canary {
    return new Canary({
      parts: this.parts,
      registry: this.registry,
      identity: this.own.credential.identity,
      logger: this.#ambient.logger.child({ component: 'canary' }),
      intervalMs: this.#settings['canary.interval'],
      connect: (wire, tunnelOf) => {
        this.#callerSide.takeOwn(wire, tunnelOf)
      },
    })
  }

  #limits(): HandshakeLimits {
    const settings = this.#settings
    return {
      pendingMax: settings['handshake.pendingMax'],
      pendingPerAddressMax: settings['handshake.pendingPerAddressMax'],
      timeoutMs: settings['handshake.timeout'],
      bytesMax: settings['handshake.bytesMax'],
    }
  }

  #listener(
    key: 'agents.listen' | 'callers.listen',
    role: Role,
    take: (wire: PeerWire) => void,
  ): TlsListener {
    const { clock, logger } = this.#ambient
    return new TlsListener({
      address: this.#settings[key],
      credential: this.own.credential,
      expected: {
        trustDomain: this.#settings.trustDomain,
        roles: [role],
        elsewhere: wrongPort(this.#settings, key),
      },
      limits: this.#limits(),
      budget: this.#strangers,
      clock,
      logger: logger.child({ component: `${role}s` }),
      onPeer: take,
    })
  }

  /** Two processes in two places hold one key: somebody has copied it. */
  #cloned(tunnels: readonly [AgentTunnel, AgentTunnel]): void {
    const [first] = tunnels
    const { cluster, agent } = first
    const places = tunnels.map(({ connection }) => connection.facts.address).join(' and ')
    const text = `two live agents present one certificate, from ${places}`
    this.#ambient.logger.error({ cluster, agent, peer: places }, 'cloned identity')
    const { clock } = this.#ambient
    const identity = `${cluster}/${agent}`
    const event = { at: clock.wallMs(), kind: 'identity.cloned', actor: identity, identity }
    this.#admission?.events.note({ ...event, detail: text })
    const isCut = this.#settings['agents.clones'] === 'cut'
    for (const tunnel of tunnels) {
      if (isCut) tunnel.connection.close(new PosternError('IDENTITY_CLONED', text))
      else this.#notices.warn(tunnel, `cloned identity: ${text}`)
    }
  }

  #connections(): RpcConnection[] {
    return [...this.#agentSide.connections, ...this.#callerSide.connections]
  }
}

function protectionOf(settings: GatewaySettings): KeyProtection {
  const file = settings['identity.passphraseFile']
  return readProtection({ file, command: settings['identity.passphraseCommand'] })
}
