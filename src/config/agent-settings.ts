import { KEY_KINDS } from '../identity/keys.ts'
import { readRedaction } from './logs-row.ts'
import { readSealCaller } from './seal-row.ts'
import { readProbe, showProbe } from './probe-row.ts'
import { CARRIER_SETTINGS } from './carrier-settings.ts'
import { DATA_PLANE_SETTINGS } from './data-plane-settings.ts'
import {
  address,
  addresses,
  bytes,
  choice,
  duration,
  integer,
  masked,
  optional,
  path,
  rowFields,
  rows,
  running,
  text,
  words,
  type SettingsOf,
} from './setting.ts'
import {
  IDENTITY_SETTINGS,
  LOG_SETTINGS,
  METRICS_SETTINGS,
  PASSPHRASE_SETTINGS,
  plaintextSetting,
  SERVER_NAME_SETTING,
  SESSION_SETTINGS,
  TRACING_SETTINGS,
} from './shared-settings.ts'
import { readService } from './service-row.ts'

/** One row of `allow:`. */
export interface AllowRow {
  readonly caller: string
  readonly methods: readonly string[]
  readonly services: readonly string[]
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const HTTPS_URL = /^https:\/\/[^/?#@]+\/?$/

function readAllow(row: Readonly<Record<string, unknown>>): AllowRow {
  rowFields(row, ['caller', 'methods', 'services'])
  const { caller } = row
  if (typeof caller !== 'string' || !(caller === '*' || NAME.test(caller))) {
    throw new Error('caller must be the name of a caller, or "*"')
  }
  return { caller, methods: readNames(row.methods), services: readNames(row.services) }
}

function readNames(value: unknown): readonly string[] {
  if (value === undefined) return []
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value
  throw new Error('methods and services must be lists of names')
}

/** Every setting of the agent. */
export const AGENT_SETTINGS = {
  'gateway.address': address('The gateway to dial.'),
  'gateway.addresses': addresses(
    'Further gateways, or further ways to the same: host:port each. A gateway may name others by itself, under the same parent domain.',
  ),
  'gateway.serverName': SERVER_NAME_SETTING,
  'gateway.proxy': optional(
    masked(
      'Proxy to reach the gateway through: http://[user@]host:port (CONNECT) or socks5://[user@]host:port; none for no proxy. Default: HTTPS_PROXY or ALL_PROXY of the environment.',
    ),
  ),
  'gateway.proxyPasswordFile': optional(
    path('File with the password for the proxy, readable by its owner alone.'),
  ),
  'gateway.noProxy': words(
    'Hosts that are dialled directly all the same: names with all below them, addresses, networks, *. Default: NO_PROXY of the environment.',
  ),
  ...CARRIER_SETTINGS,
  trustDomain: IDENTITY_SETTINGS.trustDomain,
  'state.directory': path(
    'Where agent enroll keeps keys and certificates; the user of the daemon alone may enter.',
    '/var/lib/postern/agent',
  ),
  'identity.source': optional(
    choice(
      'enrolled: by agent enroll, and renewed by the agent. files: named here, managed by somebody else, and watched. Default: files where they are named.',
      undefined,
      ['enrolled', 'files'],
    ),
  ),
  'identity.certificateFile': optional(
    path(
      'Certificate that somebody else manages, in PEM: leaf first, then intermediates. Default: what agent enroll got.',
    ),
  ),
  'identity.keyFile': optional(
    path('Its private key in PEM (PKCS#8), readable by its owner alone.'),
  ),
  'identity.renewUrl': optional(
    text(
      'EST address where the certificate is renewed while no tunnel is up (enroll.renewListen of the gateway).',
      undefined,
      HTTPS_URL,
      'https://host:port',
    ),
  ),
  'identity.renewApart': duration(
    'Least time between two renewals, whatever the gateway asks for.',
    '60s',
    ['1s', '24h'],
  ),
  'identity.enrollUrl': optional(
    text(
      'Where the agent asks why it is refused, and recovers an expired certificate (enroll.listen of the gateway). Default: where it enrolled.',
      undefined,
      HTTPS_URL,
      'https://host:port',
    ),
  ),
  ...PASSPHRASE_SETTINGS,
  'join.gateway': optional(
    text(
      'Enrolment address of the gateway: agent run enrols there by itself where it has no identity yet.',
      undefined,
      HTTPS_URL,
      'https://host:port',
    ),
  ),
  'join.tokenFile': optional(
    path(
      'File with the join token, or the signed token of the platform, for that. Default: the systemd credential join-token.',
    ),
  ),
  'join.caPins': words('Pins of the roots to trust for that: sha256:HEX.'),
  'join.caBundleFile': optional(path('Roots to trust for that in PEM, in place of pins.')),
  'join.key': choice('Kind of the key that is made then.', 'p256', KEY_KINDS),
  'identity.bundleFile': optional(
    path('Its trust bundle in PEM: the roots that peers must chain to.'),
  ),
  services: rows(
    'Targets that callers may be let through to by name: name, target (tls://host:port or https://host[:port], with the roots of caFile or those of the system; tcp:// and http:// on this machine, or where the row says plaintext: allowed), and dataType, the kind of data that it carries. A tcp:// or tls:// target has a protocol that nobody can classify, such as that of a database: it is service-traffic, which a rule must name. Of an http:// or https:// target each request is judged: task-log, metric, task-definition, run-metadata, cluster-record, or service-traffic. A grpcs:// target, and on this machine grpc:// or unix:/path, is a server of gRPC whose methods are called one by one: descriptors (a descriptor set, in which methods declare their data by the option postern.v1.data), methods (name, dataType, kind: what the descriptors do not say, or say otherwise), caFile, serverName, certificateFile, keyFile, errorTexts (pass: what the server says of errors crosses, beside their status).',
    'list of services',
    readService,
  ),
  probes: running(
    rows(
      'How services are looked after: service, type (tcp, http, https, grpc, exec), and where it is not that of the service, target (host:port); path, status (such as 200-399), body (regular expression) of http; grpcService; command of exec; caFile of https; interval, timeout, rise, fall, jitterPercent.',
      'list of probes',
      readProbe,
      showProbe,
    ),
    (probes) => probes.some(({ type }) => type === 'exec'),
  ),
  'probe.exec': choice(
    'Whether probes may run commands. The settings file is then taken only where nobody but root and its owner, who runs the agent, can write it.',
    'refused',
    ['refused', 'allowed'],
  ),
  ...DATA_PLANE_SETTINGS,
  'events.socket': optional(
    path(
      'Unix socket where workloads post what happened to their runs, by gRPC or JSON (docs/DATA-PLANE.md); it goes on to the control plane. Default: none.',
    ),
  ),
  'events.openers': choice(
    'Who may open that socket: the user of the daemon, its group too, or all on this machine.',
    'group',
    ['owner', 'group', 'all'],
  ),
  'events.texts': choice(
    'What becomes of messages, failures and attributes of events: pass (cut at 2 KiB, and redacted), or drop.',
    'pass',
    ['pass', 'drop'],
  ),
  'events.redact': rows(
    'What no text of an event may say: pattern in RE2 syntax, replacement.',
    'list of rules',
    readRedaction,
  ),
  'events.queueMax': bytes('Bytes of events that wait in memory for the control plane.', '8MiB', [
    '64KiB',
    '1GiB',
  ]),
  'events.spill': optional(
    path(
      'Folder where events are kept, encrypted, until the control plane has them: over restarts, and beyond what memory may hold. Default: none; what waits ends with the process.',
    ),
  ),
  'events.spillMax': bytes('Bytes of that folder.', '256MiB', ['1MiB', '1024GiB']),
  'health.delay': duration(
    'A tunnel that is down counts as a reason after this: it is often back in a moment.',
    '3s',
    ['0s', '5m'],
  ),
  'health.latency': duration(
    'A canary call of a gateway that takes longer than this, there and back, makes the agent degraded.',
    '2s',
    ['1ms', '1m'],
  ),
  'heartbeat.interval': duration(
    'Time between two reports to the gateway on services and capacity; a change is told at once.',
    '15s',
    ['1s', '5m'],
  ),
  'posture.tell': choice(
    'Whether heartbeats tell the control plane how many lines of agent posture are OK, WARN, FAIL and UNKNOWN: numbers, and no name.',
    'nothing',
    ['nothing', 'summary'],
  ),
  'posture.interval': duration('Time between two looks for that.', '1h', ['1m', '24h']),
  'policy.file': optional(
    path(
      'The policy: who may use what, under which conditions (docs/POLICY.md). The file is watched, and a change taken over where it has no mistake. It takes the place of allow.',
    ),
  ),
  allow: rows(
    'Who may use what, in short: caller, methods ("package.Service/Method", "package.Service/*", "*"), services. What no row allows is refused.',
    'list of rules',
    readAllow,
  ),
  'seal.keyFile': optional(
    path(
      'Private key of the agent for sealed sessions in PEM (PKCS#8), readable by its owner alone. Default: one that the agent makes in state.directory; agent seal show prints its pin, for callers.',
    ),
  ),
  'seal.certificateFile': optional(
    path(
      'Certificate over that key by a CA of your own, not of the vendor: leaf first, then intermediates. Default: none, and callers pin the key.',
    ),
  ),
  'seal.callers': rows(
    'Callers that are known first-hand by the key that they seal with: caller, pin (sha256:HEX, as gateway seal show prints it). The control plane cannot act as one of them.',
    'list of callers',
    readSealCaller,
  ),
  'seal.callerCaFile': optional(
    path(
      'CA of your own, not of the vendor, that certifies callers for sealed sessions, in PEM, with its CRLs where there are any. The certificate names the caller as spiffe://.../caller/NAME.',
    ),
  ),
  'audit.directory': optional(
    path(
      'Where the record of what crosses is kept, which nobody alters unseen. Default: audit in state.directory.',
    ),
  ),
  'audit.keep': duration(
    'Nothing in the record that is younger than this is ever dropped; older lines are, once there is no more room.',
    '1d',
    ['1h', '3650d'],
  ),
  'audit.max': bytes('Bytes that the record may have in all. A call takes about 300.', '10GiB', [
    '1MiB',
    '1024GiB',
  ]),
  'audit.onFull': choice(
    'What calls do where the record cannot be written: stop, or go-on without being recorded.',
    'stop',
    ['stop', 'go-on'],
  ),
  'audit.anchor': optional(
    text(
      'Where signed checkpoints of the record are kept too, so that it cannot be cut off or written anew: the path of a file on another volume, https://..., or syslog://host:port (TCP).',
      undefined,
      /^(\/[^\0]+|https:\/\/[^/?#@]+(\/[^\0\s]*)?|syslog:\/\/[^/?#@]+:\d+)$/,
      'a path, https://host/..., or syslog://host:port',
    ),
  ),
  'status.socket': path(
    'Unix socket for agent status; only the user of the daemon and root may open it.',
    '/run/postern/agent.sock',
  ),
  'tunnel.count': integer(
    'Tunnels to keep, each to another gateway, in another zone where there is one. Where only one gateway is known, one.',
    2,
    { min: 1, max: 8 },
  ),
  'tunnel.dialTimeout': duration(
    'Longest time from dial to welcome. Leaves room for SYN retries at 1 s and 3 s.',
    '10s',
    ['100ms', '2m'],
  ),
  'backoff.min': duration('First bound of the full-jitter back-off between two dials.', '500ms', [
    '10ms',
    '1m',
  ]),
  'backoff.max': duration('Last bound of the back-off.', '60s', ['100ms', '1h']),
  'backoff.stable': duration(
    'Up this long, a tunnel that falls starts again at the first bound.',
    '60s',
    ['0s', '1h'],
  ),
  'forward.dialTimeout': duration('Longest time to connect to the target of a service.', '10s', [
    '100ms',
    '2m',
  ]),
  'limits.bufferBytesMax': bytes(
    'Bytes that all peers together may make this process hold.',
    '256MiB',
    ['1MiB', '64GiB'],
  ),
  ...SESSION_SETTINGS,
  ...METRICS_SETTINGS,
  'metrics.plaintext': plaintextSetting('metrics.listen'),
  ...TRACING_SETTINGS,
  'tracing.plaintext': plaintextSetting('tracing.url'),
  ...LOG_SETTINGS,
} as const

/** The settings of an agent, after they were read and judged. */
export type AgentSettings = SettingsOf<typeof AGENT_SETTINGS>
