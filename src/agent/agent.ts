import { asPosternError, PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import { VERSION } from '../base/version.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { diagnosticsOffers } from '../dataplane/diagnostics.ts'
import { forwardOffer } from '../dataplane/forwards.ts'
import { healthOffers, HealthBoard } from '../dataplane/health.ts'
import {
  Tunnel as TunnelService,
  type RegisterResponse,
  type RenewResponse,
} from '../gen/postern/v1/tunnel_pb.js'
import { Policy } from '../guard/policy.ts'
import { Generations } from '../identity/generations.ts'
import { readCredential, type Credential } from '../identity/key-files.ts'
import { identityUri, type Identity } from '../identity/name.ts'
import { RpcServer } from '../rpc/server.ts'
import { RpcError } from '../rpc/status.ts'
import { clientOf } from '../rpc/typed.ts'
import { dialTls } from '../transport/tls-dial.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import type { ProcessParts, RpcConnection } from '../tunnel/rpc-connection.ts'
import { Tunnel } from '../tunnel/tunnel.ts'
import { caCertificates, estIssue } from './est.ts'
import { enrolledFiles, namedFiles } from './identity-files.ts'
import { invalidAnswer } from './judge-issued.ts'
import { judgedServices } from './judged-services.ts'
import { Renewal } from './renewal.ts'

const RENEW_MS_MAX = 20_000
const REFUSALS = ['RENEWAL_REFUSED', 'CSR_INVALID'] as const

type AgentIdentity = Extract<Identity, { role: 'agent' }>

/** The data-plane end: keeps a tunnel to the gateway, and serves what the customer's policy allows. */
export class Agent {
  readonly settings: AgentSettings
  /** Present where the agent manages its own certificate. */
  readonly renewal: Renewal | undefined
  #credential: Credential
  readonly identity: AgentIdentity
  readonly parts: ProcessParts
  readonly policy: Policy
  readonly server: RpcServer
  readonly tunnel: Tunnel
  readonly startedAtMs: number
  readonly health = new HealthBoard()
  readonly #ambient: Ambient

  /** @throws CONFIG_INVALID, and what readCredential throws */
  constructor(settings: AgentSettings, ambient: Ambient) {
    this.settings = settings
    this.#ambient = ambient
    this.startedAtMs = ambient.clock.wallMs()
    this.parts = processParts(settings, ambient)
    const services = judgedServices(settings)
    this.policy = new Policy(settings.allow)
    const managed = new Generations(settings['state.directory'])
    const named = namedFiles(settings)
    this.#credential = readCredential(
      named ?? enrolledFiles(managed, settings),
      'agent',
      this.startedAtMs,
    )
    this.identity = agentIdentity(this.#credential.identity, settings.trustDomain)
    this.server = new RpcServer(this.parts.runtime, (request) => this.policy.decide(request))
    const { clock, logger } = ambient
    const log = new LogLimiter(logger, clock)
    const forwardParts = { clock, logger, log, dialTimeoutMs: settings['forward.dialTimeout'] }
    for (const offer of [...healthOffers(this.health), ...diagnosticsOffers(clock)])
      this.server.offer(offer)
    for (const service of services) {
      this.server.offer(forwardOffer(service, forwardParts))
      this.health.set(service.name, true)
    }
    this.tunnel = this.#makeTunnel()
    if (named === undefined) this.renewal = this.#makeRenewal(managed)
  }

  get credential(): Credential {
    return this.#credential
  }

  start(): void {
    this.tunnel.start()
    this.renewal?.start()
  }

  /** Running calls finish, up to the grace of `drain.grace`. */
  async drain(): Promise<void> {
    this.renewal?.stop()
    this.health.set('', false)
    await this.tunnel.drain(this.settings['drain.grace'])
  }

  stop(): void {
    this.renewal?.stop()
    this.tunnel.stop()
  }

  /** Over the tunnel, or where none is up over EST with the certificate that we have. */
  async #askForRenewal(
    signingRequest: Buffer,
  ): Promise<Pick<RenewResponse, 'certificate' | 'chain'>> {
    const { state } = this.tunnel
    if (state.name === 'ready') {
      const client = clientOf(TunnelService, state.connection.channel())
      try {
        return await client.renew({ signingRequest }, { timeoutMs: RENEW_MS_MAX })
      } catch (error) {
        throw renewalError(error)
      }
    }
    const url = this.settings['identity.renewUrl']
    if (url === undefined) {
      const text = 'no tunnel is up, and identity.renewUrl names no other way to renew'
      throw new PosternError('CONNECTION_LOST', text)
    }
    const { bundlePem, certificatePem, keyPem } = this.#credential
    const { trustDomain } = this.settings
    const trust = { bundlePem, trustDomain, certificatePem, keyPem }
    const gateway = new URL(url)
    const chain = await caCertificates(gateway, trust)
    const issued = await estIssue(gateway, 'simplereenroll', signingRequest, trust)
    if (issued.length !== 1) throw invalidAnswer('it does not hold exactly one certificate')
    return {
      certificate: new Uint8Array(issued[0]?.der ?? []),
      chain: chain.map(({ der }) => new Uint8Array(der)),
    }
  }

  #makeRenewal(generations: Generations): Renewal {
    const { clock, random, logger } = this.#ambient
    return new Renewal({
      generations,
      clock,
      random,
      logger: logger.child({ component: 'renewal' }),
      credential: () => this.#credential,
      ask: (signingRequest) => this.#askForRenewal(signingRequest),
      onRenewed: async (credential) => {
        this.#credential = credential
        await this.tunnel.replace()
      },
    })
  }

  #makeTunnel(): Tunnel {
    const { settings, parts } = this
    const { host, port } = settings['gateway.address']
    return new Tunnel({
      process: parts,
      logger: this.#ambient.logger.child({ component: 'tunnel', ...this.identity }),
      backoff: { minMs: settings['backoff.min'], maxMs: settings['backoff.max'] },
      dialTimeoutMs: settings['tunnel.dialTimeout'],
      stableMs: settings['backoff.stable'],
      dial: (signal) =>
        dialTls({
          host,
          port,
          serverName: settings['gateway.serverName'],
          credential: this.#credential,
          expected: { trustDomain: settings.trustDomain, roles: ['gateway'] },
          signal,
        }),
      register: (connection) => this.#register(connection),
      onOpen: (stream, bytes, start, end, isEnded) => {
        const arrival = {
          callerOf: (head: { caller: string }) => head.caller,
          nowMs: parts.runtime.clock.nowMs(),
        }
        this.server.open(stream, arrival, bytes, start, end, isEnded, this.identity.cluster)
      },
    })
  }

  async #register(connection: RpcConnection): Promise<RegisterResponse> {
    const client = clientOf(TunnelService, connection.channel())
    const methods = []
    const services = []
    for (const { name, dataType, handler } of this.server.offers) {
      if (handler.kind === 'forward') services.push({ name, dataType })
      else methods.push({ name, dataType, kind: handler.kind })
    }
    const { cluster, agent } = this.identity
    const request = { agentVersion: VERSION, cluster, agent, methods, services, features: [] }
    return await client.register(request, { timeoutMs: this.settings['tunnel.dialTimeout'] })
  }
}

function agentIdentity(identity: Identity, trustDomain: string): AgentIdentity {
  if (identity.role === 'agent' && identity.trustDomain === trustDomain) return identity
  const text = `our certificate names ${identityUri(identity)}, the setting trustDomain ${trustDomain}`
  throw new PosternError('CERTIFICATE_UNUSABLE', text)
}

/** The gateway's answer with its code, which says whether asking again can help. */
function renewalError(error: unknown): PosternError {
  if (!(error instanceof RpcError)) return asPosternError(error)
  const [, told = '', text = error.rawMessage] = /^([A-Z_]+): (.*)$/.exec(error.rawMessage) ?? []
  const code = REFUSALS.find((one) => one === told)
  return new PosternError(
    code ?? error.code ?? 'ENROL_FAILED',
    code === undefined ? error.rawMessage : text,
  )
}
