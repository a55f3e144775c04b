import type { GatewaySettings } from '../config/gateway-settings.ts'
import { NetworkBudget } from '../transport/network-budget.ts'
import { TrustedProxies } from '../transport/trusted-proxies.ts'
import type { TlsListener } from '../transport/tls-accept.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import type { ProcessParts } from '../tunnel/rpc-connection.ts'
import {
  type Access,
  gatekeeperOf,
  handshakeLimits,
  peerListener,
  PeerShares,
} from './access/access.ts'
import { ApiSide } from './api/api.ts'
import {
  Admission,
  AgentSide,
  Canary,
  CloneWatch,
  Fronts,
  narrowPolicies,
  Notices,
} from './agents/agents.ts'
import { caOf, type CertificateAuthority, type OwnIdentity } from './ca/ca.ts'
import { CallerSide } from './callers/callers.ts'
import { ClusterBook, Registry } from './clusters/clusters.ts'
import { RoleAuthority, RoleBook } from './roles/roles.ts'
import { openRuns } from './runs/runs.ts'
import { Enrolment } from './enrolment/enrolment.ts'

/** Parts of the memory budget that one agent, and one caller, may use. */
const AGENT_SHARE = 1 / 8
const CALLER_SHARE = 1 / 4

/** What a gateway has before its rooms: read from files, or opened. */
export interface Ground {
  readonly settings: GatewaySettings
  readonly ambient: Ambient
  readonly own: OwnIdentity
  readonly parts: ProcessParts
  /** Undefined: it has no store. */
  readonly access: Access | undefined
}

/** The rooms of a gateway. */
export interface Rooms {
  /** Undefined: it has no CA. */
  readonly ca: CertificateAuthority | undefined
  readonly registry: Registry
  /** Undefined: it has no store. */
  readonly book: ClusterBook | undefined
  readonly roles: RoleAuthority
  readonly admission: Admission
  readonly agents: AgentSide
  readonly callers: CallerSide
  readonly api: ApiSide
  readonly canary: Canary
  readonly notices: Notices
  readonly clones: CloneWatch
  readonly enrolment: Enrolment | undefined
  /** For agents, and for callers. */
  readonly listeners: readonly [TlsListener, TlsListener]
  readonly fronts: Fronts
  readonly proxies: TrustedProxies
}

/** Makes the rooms of a gateway, in order. */
export function composeRooms({ settings, ambient, own, parts, access }: Ground): Rooms {
  const { clock } = ambient
  const log = (component: string): Ambient['logger'] => ambient.logger.child({ component })
  const registry = new Registry()
  const { identity } = own.credential
  const ca = caOf(settings, own, access, ambient)
  const book = access && new ClusterBook(access.records.database, identity.gateway, clock)
  if (book !== undefined) access?.addTask(() => book.write())
  const runs = access && openRuns(access, settings, clock)
  const gatekeeper = gatekeeperOf(access, (issuer) => ca?.isRetired(issuer) === true, clock)
  const admission = new Admission(settings['admission.rate'], settings['admission.burst'])
  const shares = (fraction: number, connectionsMax: number): PeerShares =>
    new PeerShares({ whole: parts.budget, fraction, connectionsMax })
  const agents = new AgentSide({
    ...{ parts, registry, runs: runs?.intake, identity },
    ...{ gatekeeper, admission, issuer: ca?.issuer },
    shares: shares(AGENT_SHARE, settings['limits.tunnelsPerAgentMax']),
    zone: settings.zone ?? '',
    logger: log('agents'),
    registerTimeoutMs: settings['handshake.timeout'],
  })
  const roles = new RoleAuthority(new RoleBook(access?.records), settings['callers.roles'])
  const callers = new CallerSide({
    ...{ parts, registry, book, runs: runs?.book, gatekeeper, logger: log('callers') },
    roles,
    shares: shares(CALLER_SHARE, settings['limits.connectionsPerCallerMax']),
  })
  const intervalMs = settings['canary.interval']
  const canary = new Canary({
    ...{ parts, registry, identity, callers, intervalMs, logger: log('canary') },
  })
  const renewSpreadMs = settings['ca.renewSpread']
  const narrowFor = narrowPolicies(settings['narrow.directory'])
  const logger = log('notices')
  const notices = new Notices({ registry, ca, clock, logger, renewSpreadMs, narrowFor })
  const clones = new CloneWatch({ registry, clock, settings, logger: ambient.logger, access })
  const strangers = new NetworkBudget(clock)
  const proxies = new TrustedProxies(settings.trustedProxies)
  const peers = { settings, ambient, credential: own.credential, strangers, proxies }
  const listeners = [
    peerListener('agents.listen', 'agent', peers, (wire) => {
      agents.accept(wire)
    }),
    peerListener('callers.listen', 'caller', peers, (wire) => {
      callers.accept(wire)
    }),
  ] as const
  const api = new ApiSide({
    ...{ settings, ambient, parts, own, registry, roles, callers, gatekeeper, strangers },
    proxies,
  })
  const fronts = new Fronts({ settings, ambient, own, agents })
  const limits = handshakeLimits(settings)
  const enrolment =
    ca === undefined || access === undefined
      ? undefined
      : new Enrolment({ settings, own, access, ca, limits, ambient, strangers, proxies })
  const made = { ca, registry, book, roles, admission, agents, callers, canary, notices, clones }
  return { ...made, api, enrolment, listeners, fronts, proxies }
}
