import { PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import { VERSION } from '../base/version.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { diagnosticsOffers } from '../dataplane/diagnostics.ts'
import { forwardOffer } from '../dataplane/forwards.ts'
import { healthOffers, HealthBoard } from '../dataplane/health.ts'
import { Tunnel as TunnelService, type RegisterResponse } from '../gen/postern/v1/tunnel_pb.js'
import { Policy } from '../guard/policy.ts'
import { RpcServer } from '../rpc/server.ts'
import { clientOf } from '../rpc/typed.ts'
import type { Egress } from '../transport/egress.ts'
import { dialTls } from '../transport/tls-dial.ts'
import type { TlsFacts, TlsWire } from '../transport/tls-wire.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import type { ProcessParts, RpcConnection } from '../tunnel/rpc-connection.ts'
import { Tunnel } from '../tunnel/tunnel.ts'
import { egressOf } from './egress-of.ts'
import { readEnrolUrl } from './enrol-url.ts'
import { GatewayCrls } from './gateway-crls.ts'
import { IdentityKeeper, type AgentCredential, type AgentIdentity } from './identity-keeper.ts'
import { judgedServices } from './judged-services.ts'
import { NOTICES, NoticeTaker } from './notice-taker.ts'
import { Renewal } from './renewal.ts'
import { TunnelCare } from './tunnel-care.ts'
import { WakeWatch } from './wake-watch.ts'
import { askForRenewal } from './ways-to-renew.ts'

const INSTANCE_BYTES = 16

/** The data-plane end: keeps a tunnel to the gateway, and serves what the customer's policy allows. */
export class Agent {
  readonly settings: AgentSettings
  readonly keeper: IdentityKeeper
  /** Present where the agent manages its own certificate. */
  readonly renewal: Renewal | undefined
  readonly identity: AgentIdentity
  readonly parts: ProcessParts
  readonly policy: Policy
  readonly server: RpcServer
  readonly tunnel: Tunnel
  readonly care: TunnelCare
  readonly notices: NoticeTaker
  readonly startedAtMs: number
  readonly health = new HealthBoard()
  readonly #ambient: Ambient
  readonly #instance: string
  readonly #crls: GatewayCrls
  readonly #egress: Egress

  /** @throws CONFIG_INVALID, and what reading the identity throws */
  constructor(settings: AgentSettings, ambient: Ambient) {
    this.settings = settings
    this.#ambient = ambient
    this.#instance = ambient.random.hex(INSTANCE_BYTES)
    this.startedAtMs = ambient.clock.wallMs()
    this.parts = processParts(settings, ambient)
    this.#egress = egressOf(settings)
    const services = judgedServices(settings)
    this.policy = new Policy(settings.allow)
    const logger = ambient.logger.child({ component: 'identity' })
    this.keeper = new IdentityKeeper({
      settings,
      ambient,
      logger,
      onChanged: async () => {
        const isProven = await this.tunnel.replace()
        // Where none is up, there is no reason to wait any longer.
        this.tunnel.hurry()
        return isProven
      },
    })
    this.identity = this.keeper.credential.identity
    this.#crls = new GatewayCrls(
      this.keeper.isManaged ? settings['state.directory'] : undefined,
      logger,
    )
    this.tunnel = this.#makeTunnel()
    this.care = this.#makeCare()
    this.notices = this.#makeNoticeTaker()
    this.server = this.#makeServer(services)
    if (this.keeper.isManaged) this.renewal = this.#makeRenewal()
  }

  get credential(): AgentCredential {
    return this.keeper.credential
  }

  start(): void {
    this.tunnel.start()
    this.keeper.start()
    this.renewal?.start()
    this.care.start()
  }

  /** Reads the identity's files anew. @throws what reading them throws; nothing changes then */
  async reload(): Promise<void> {
    await this.keeper.reload()
    this.tunnel.hurry()
  }

  /** Running calls finish, up to the grace of `drain.grace`. */
  async drain(): Promise<void> {
    this.#stopTending()
    this.health.set('', false)
    await this.tunnel.drain(this.settings['drain.grace'])
  }

  stop(): void {
    this.#stopTending()
    this.tunnel.stop()
  }

  /** Where no certificate is asked for: of the settings, or where we enrolled. */
  get enrolUrl(): URL | undefined {
    const named = this.settings['identity.enrollUrl']
    if (named !== undefined) return new URL(named)
    return this.keeper.isManaged ? readEnrolUrl(this.settings['state.directory']) : undefined
  }

  #stopTending(): void {
    this.renewal?.stop()
    this.keeper.stop()
    this.care.stop()
  }

  #makeServer(services: ReturnType<typeof judgedServices>): RpcServer {
    const { clock, logger } = this.#ambient
    const server = new RpcServer(this.parts.runtime, (request) =>
      // The gateway's own word, not a caller's: no caller has an empty name.
      request.caller === '' && request.name === NOTICES ? undefined : this.policy.decide(request),
    )
    const log = new LogLimiter(logger, clock)
    const dialTimeoutMs = this.settings['forward.dialTimeout']
    const own = [
      ...healthOffers(this.health),
      ...diagnosticsOffers(clock),
      ...this.notices.offers(),
    ]
    for (const offer of own) server.offer(offer)
    for (const service of services) {
      server.offer(forwardOffer(service, { clock, logger, log, dialTimeoutMs }))
      this.health.set(service.name, true)
    }
    return server
  }

  #makeNoticeTaker(): NoticeTaker {
    const { logger } = this.#ambient
    return new NoticeTaker({
      logger: logger.child({ component: 'notices' }),
      clock: this.#ambient.clock,
      adopt: (bundles) => this.keeper.adopt(bundles),
      takeCrls: (crls, authorities) => {
        this.#crls.take(crls, authorities, this.keeper.roots)
        this.#judgeGateways()
      },
      orderRenewal: (withinMs) => this.renewal?.order(withinMs),
    })
  }

  #makeRenewal(): Renewal {
    const { clock, random, logger } = this.#ambient
    const { keeper, tunnel } = this
    const url = this.settings['identity.renewUrl']
    return new Renewal({
      generations: keeper.generations,
      clock,
      random,
      logger: logger.child({ component: 'renewal' }),
      apartMs: this.settings['identity.renewApart'],
      credential: () => keeper.credential,
      trust: () => keeper.trust,
      exclusively: (act) => keeper.exclusively(act),
      ask: (signingRequest) =>
        askForRenewal(
          {
            tunnel,
            credential: () => keeper.credential,
            issuingKeys: () => keeper.trust.issuingKeys,
            egress: this.#egress,
            renewUrl: url === undefined ? undefined : new URL(url),
            enrolUrl: this.enrolUrl,
            nowMs: () => clock.wallMs(),
          },
          signingRequest,
        ),
      onRenewed: async () => {
        try {
          await keeper.renewed()
        } catch (error) {
          // The certificate is there; that the tunnel goes over to it is looked after.
          logger.warn({ err: error }, 'the tunnel could not go over to the new certificate yet')
        }
        tunnel.hurry()
      },
    })
  }

  #makeCare(): TunnelCare {
    return new TunnelCare({
      tunnel: this.tunnel,
      clock: this.#ambient.clock,
      wakes: new WakeWatch(this.#ambient.clock),
      logger: this.#ambient.logger.child({ component: 'tunnel' }),
      credential: () => this.keeper.credential,
      enrolUrl: () => this.enrolUrl,
      issuingKeys: () => this.keeper.trust.issuingKeys,
      egress: this.#egress,
      bundleVersion: () => this.keeper.trust.version,
      adopt: (bundles) => this.keeper.adopt(bundles),
      orderRenewal: () => this.renewal?.order(0),
    })
  }

  #makeTunnel(): Tunnel {
    const { settings, parts } = this
    return new Tunnel({
      process: parts,
      logger: this.#ambient.logger.child({ component: 'tunnel', ...this.identity }),
      backoff: { minMs: settings['backoff.min'], maxMs: settings['backoff.max'] },
      dialTimeoutMs: settings['tunnel.dialTimeout'],
      stableMs: settings['backoff.stable'],
      dial: (signal) => this.#dial(signal),
      register: (connection) => this.#register(connection),
      onDown: (cause) => {
        this.care.explain(cause)
      },
      onOpen: (stream, bytes, start, end, isEnded) => {
        const arrival = {
          callerOf: (head: { caller: string }) => head.caller,
          nowMs: parts.runtime.clock.nowMs(),
        }
        this.server.open(stream, arrival, bytes, start, end, isEnded, this.identity.cluster)
      },
    })
  }

  async #dial(signal: AbortSignal): Promise<TlsWire> {
    const { settings } = this
    const { host, port } = settings['gateway.address']
    const { credential } = this.keeper
    const nowMs = this.#ambient.clock.wallMs()
    if (credential.notAfterMs <= nowMs) {
      const ended = new Date(credential.notAfterMs).toISOString()
      const text = `our certificate expired on ${ended}, by our clock; it is being renewed`
      throw new PosternError('CERT_EXPIRED', text)
    }
    const wire = await dialTls({
      host,
      port,
      serverName: settings['gateway.serverName'],
      credential,
      expected: { trustDomain: settings.trustDomain, roles: ['gateway'] },
      signal,
      nowMs,
      egress: this.#egress,
    })
    const refusal = this.#refusalOf(wire.facts)
    if (refusal !== undefined) {
      wire.destroy()
      throw refusal
    }
    this.care.dialled(wire.facts, credential)
    return wire
  }

  /** Why a gateway is refused whose chain was verified. */
  #refusalOf({ certificate }: TlsFacts): PosternError | undefined {
    return this.#crls.refusalOf(certificate, this.keeper.trust.issuingKeys)
  }

  /** Gateways that we are connected to may be on a list, or under a CA, that has just gone. */
  #judgeGateways(): void {
    for (const connection of this.tunnel.connections) {
      const refusal = this.#refusalOf(connection.facts)
      if (refusal !== undefined) connection.close(refusal)
    }
  }

  async #register(connection: RpcConnection): Promise<RegisterResponse> {
    const client = clientOf(TunnelService, connection.channel())
    const methods = []
    const services = []
    for (const { name, dataType, handler } of this.server.offers) {
      if (name === NOTICES) continue
      if (handler.kind === 'forward') services.push({ name, dataType })
      else methods.push({ name, dataType, kind: handler.kind })
    }
    const { cluster, agent } = this.identity
    const request = {
      agentVersion: VERSION,
      cluster,
      agent,
      methods,
      services,
      features: [],
      bundleVersion: this.keeper.trust.version,
      instance: this.#instance,
    }
    const welcome = await client.register(request, {
      timeoutMs: this.settings['tunnel.dialTimeout'],
    })
    // A list may have come while this connection was made.
    const refusal = this.#refusalOf(connection.facts)
    if (refusal !== undefined) {
      connection.close(refusal)
      throw refusal
    }
    this.care.welcomed(Number(welcome.timeMs), connection.session.rttMs ?? 0)
    return welcome
  }
}
