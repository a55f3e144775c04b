import { networkOfEntry } from '../transport/trusted-proxies.ts'
import { readApiIssuer } from './api-issuer-row.ts'
import { readJwtRow } from './jwt-row.ts'
import { readFront } from './front-row.ts'
import { readPeer } from './peer-row.ts'
import { readSealCluster } from './seal-row.ts'
import {
  address,
  addresses,
  bytes,
  choice,
  duration,
  integer,
  listenAddress,
  optional,
  path,
  rows,
  text,
  type SettingsOf,
  words,
} from './setting.ts'
import {
  IDENTITY_SETTINGS,
  LOG_SETTINGS,
  METRICS_SETTINGS,
  PASSPHRASE_SETTINGS,
  SERVER_NAME_SETTING,
  SESSION_SETTINGS,
  TRACING_SETTINGS,
} from './shared-settings.ts'

const DOMAIN = /^(?=.{1,180}$)[a-z0-9-]+(?:\.[a-z0-9-]+)+$/
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Every setting of the gateway. */
export const GATEWAY_SETTINGS = {
  'agents.listen': listenAddress('Where agents connect.', '0.0.0.0:7443'),
  'agents.address': optional(
    address(
      'This gateway as agents dial it: told to agents, which then keep tunnels to this one and to others.',
    ),
  ),
  'agents.fronts': rows(
    'Host names at Cloudflare behind which agents are that run a connector (via: cloudflare-connector), for this gateway to dial: address (host, with :port where it is not 443), serviceTokenFile, caFile. One host name for each agent.',
    'list of fronts',
    readFront,
  ),
  zone: optional(
    text(
      'Failure zone of this gateway, such as a data centre: agents spread their tunnels over zones.',
      undefined,
      NAME,
      '1 to 63 of a-z, 0-9 and hyphens',
    ),
  ),
  peers: rows(
    'The other gateways of this control plane, told to agents: gateway (as in its certificate), address (host:port, as agents dial it), zone.',
    'list of gateways',
    readPeer,
  ),
  trustedProxies: words(
    'Load balancers in front of every listener: addresses and networks, such as 10.0.0.0/24. Each of their connections must begin with a header of the PROXY protocol, version 2, which says from where it comes; from elsewhere none is taken.',
    (entry) => {
      if (networkOfEntry(entry) === undefined)
        throw new Error(`${JSON.stringify(entry)} is no address and no network`)
    },
  ),
  'callers.listen': listenAddress(
    'Where control-plane services connect. Loopback until somebody decides otherwise.',
    '127.0.0.1:7444',
  ),
  'callers.address': optional(
    address(
      'This gateway as callers dial it: written into the settings that gateway certs issue makes. Default: its first DNS name, unless callers.listen is loopback.',
    ),
  ),
  'callers.roles': choice(
    'Whether callers with certificates need a role (gateway roles grant) for what they use. Those with tokens always do.',
    'optional',
    ['optional', 'required'],
  ),
  'api.listen': optional(
    listenAddress(
      'Where callers with certificates call by gRPC, gRPC-Web and Connect, over HTTP/2 and HTTP/1.1. Default: nowhere.',
    ),
  ),
  'api.tokenListen': optional(
    listenAddress(
      'The same for callers with bearer tokens of api.issuers, who may use what roles allow (gateway roles). Default: nowhere.',
    ),
  ),
  'api.issuers': rows(
    'Whose tokens api.tokenListen takes: issuer, audience (tokens for others are not taken), groupsClaim (JSON pointer, /groups where it is not given), jwksUrl or jwksFile in place of discovery, caFile.',
    'list of issuers',
    readApiIssuer,
  ),
  'api.domain': optional(
    text(
      'Domain below which each cluster has a host name of its own: CLUSTER.api.example.com. Without it clusters are named by postern-cluster alone.',
      undefined,
      DOMAIN,
      'a host name in lower case',
    ),
  ),
  'api.certificateFile': optional(
    path(
      'Certificate that the API shows, in PEM with its chain, of any CA; looked at every 5 s. Default: that of the gateway.',
    ),
  ),
  'api.keyFile': optional(path('Its private key in PEM, readable by its owner alone.')),
  'api.origins': words(
    'Origins whose pages may call by gRPC-Web and Connect from a browser (CORS), such as https://app.example.com.',
  ),
  'api.connectionAge': duration(
    'How long a connection to the API lasts, so that callers spread over gateways: it then ends in two steps, and what runs goes on.',
    '30m',
    ['1s', '168h'],
  ),
  trustDomain: IDENTITY_SETTINGS.trustDomain,
  'identity.directory': optional(
    path('Identity that the gateway renews by itself from ca.directory, as gateway init makes it.'),
  ),
  'identity.certificateFile': optional(
    path('Certificate that somebody else manages, in PEM: leaf first, then intermediates.'),
  ),
  'identity.keyFile': optional(
    path('Its private key in PEM (PKCS#8), readable by its owner alone.'),
  ),
  'identity.bundleFile': optional(
    path('Its trust bundle in PEM: the roots that peers must chain to.'),
  ),
  ...PASSPHRASE_SETTINGS,
  'ca.directory': optional(
    path('Folder of the issuing CAs, as gateway init makes it. Without it nobody can enrol.'),
  ),
  'ca.renewSpread': duration(
    'When another CA takes over, connected agents renew their certificates within this.',
    '10m',
    ['0s', '24h'],
  ),
  'records.file': optional(
    path(
      'Store of join tokens, certificates, revocations and events; made if missing. Needed with ca.directory.',
    ),
  ),
  'records.eventsKeep': duration('How long events are kept.', '9600h', ['1h', '87600h']),
  'records.eventsMax': integer('How many events are kept; the oldest go first.', 1_000_000, {
    min: 1000,
    max: 100_000_000,
  }),
  'records.certificatesKeep': duration(
    'How long a certificate is remembered after its end; never less than enroll.expiredGrace.',
    '2160h',
    ['24h', '87600h'],
  ),
  'records.clustersKeep': duration(
    'How long an agent is remembered after it went: gateway clusters list shows it as away.',
    '720h',
    ['1h', '87600h'],
  ),
  'records.runsKeep': duration('How long events of runs are kept.', '720h', ['1h', '87600h']),
  'records.runsMax': integer(
    'How many events of runs are kept of one cluster; the oldest go first.',
    100_000,
    { min: 100, max: 100_000_000 },
  ),
  'records.runsBytes': bytes(
    'Bytes of those events, of one cluster, as JSON: the store takes about twice this for each cluster that tells as much as it may.',
    '64MiB',
    ['1MiB', '1024GiB'],
  ),
  'enroll.listen': listenAddress(
    'Where agents enrol: EST (RFC 7030) over HTTPS. No certificate is asked for here.',
    '0.0.0.0:7445',
  ),
  'enroll.renewListen': listenAddress(
    'Where certificates are renewed over EST: mutual TLS, with the certificate to be renewed.',
    '0.0.0.0:7446',
  ),
  'enroll.leafLifetime': duration('Life of the certificates that are issued.', '24h', [
    '1h',
    '2160h',
  ]),
  'enroll.expiredGrace': duration(
    'How long past its end a certificate may still be renewed; 0s: not at all.',
    '168h',
    ['0s', '2160h'],
  ),
  'enroll.jwt': rows(
    'Who may join by a signed token of its platform, such as a Kubernetes service account: cluster, issuer, audience, subject (with * for a part between colons), agentClaim (JSON pointer), jwksUrl or jwksFile in place of discovery, caFile.',
    'list of rules',
    readJwtRow,
  ),
  'agents.clones': choice(
    'What is done when two live agents in different places present one certificate.',
    'warn',
    ['warn', 'cut'],
  ),
  'handshake.timeout': duration('Longest time from connect to authenticated.', '5s', [
    '100ms',
    '1m',
  ]),
  'handshake.pendingMax': integer(
    'Handshakes under way at once; the oldest gives way to the newest.',
    1024,
    { min: 1, max: 100_000 },
  ),
  'handshake.pendingPerAddressMax': integer(
    'The same from one address; many agents may stand behind one NAT.',
    512,
    { min: 1, max: 100_000 },
  ),
  'handshake.bytesMax': bytes('Bytes taken from a peer before it is authenticated.', '16KiB', [
    '8KiB',
    '1MiB',
  ]),
  'limits.bufferBytesMax': bytes(
    'Bytes that all peers together may make this process hold.',
    '2GiB',
    ['16MiB', '512GiB'],
  ),
  'limits.tunnelsPerAgentMax': integer('Connections that one agent may hold.', 16, {
    min: 1,
    max: 1000,
  }),
  'limits.connectionsPerCallerMax': integer(
    'Connections that one caller may hold; its replicas share a name.',
    256,
    { min: 1, max: 100_000 },
  ),
  ...SESSION_SETTINGS,
  'status.socket': optional(
    path(
      'Unix socket for gateway status and gateway drain; only the user of the daemon and root may open it. Default: /run/postern/gateway.sock, where it can be made.',
    ),
  ),
  'admission.rate': integer(
    'Agents per second that are let in; the others are told when to come back. What one core does of handshakes, with room for calls.',
    200,
    { min: 1, max: 10_000 },
  ),
  'admission.burst': integer('Agents that are let in at once before the rate holds.', 400, {
    min: 1,
    max: 100_000,
  }),
  'narrow.directory': optional(
    path(
      "Folder with CLUSTER.yaml: a policy, of rules alone, that is pushed to each agent of that cluster when it registers. It may narrow the customer's policy for that tunnel, and never widens it.",
    ),
  ),
  'canary.interval': duration(
    'Time between two calls that the gateway sends through each tunnel, the way that callers go, to see that it works.',
    '15s',
    ['1s', '5m'],
  ),
  'drain.reconnectRate': integer(
    'Agents per second that a gateway which drains asks to come back, here or elsewhere.',
    100,
    { min: 1, max: 10_000 },
  ),
  ...METRICS_SETTINGS,
  'health.listen': optional(
    listenAddress(
      'Where load balancers look whether to send connections here: /livez and /readyz alone, over plain HTTP. Default: nowhere.',
    ),
  ),
  ...TRACING_SETTINGS,
  ...LOG_SETTINGS,
} as const

/** The settings of a gateway, after they were read and judged. */
export type GatewaySettings = SettingsOf<typeof GATEWAY_SETTINGS>

/** Settings of the commands that call through a gateway. */
export const CALLER_SETTINGS = {
  'gateway.address': address('The caller listener of the gateway.', '127.0.0.1:7444'),
  'gateway.addresses': addresses(
    'The caller listeners of further gateways of the control plane: host:port each. gateway forward goes over whichever is up.',
  ),
  'gateway.serverName': SERVER_NAME_SETTING,
  'identity.renewUrl': optional(
    text(
      'EST address where gateway forward renews its certificate, in the files that hold it (enroll.renewListen of the gateway).',
      undefined,
      /^https:\/\/[^\s/]+\/?$/,
      'https://host:port',
    ),
  ),
  ...IDENTITY_SETTINGS,
  'seal.keyFile': optional(
    path(
      'Private key of this caller for sealed calls in PEM (PKCS#8), readable by its owner alone; gateway seal new makes one.',
    ),
  ),
  'seal.certificateFile': optional(
    path(
      "Certificate over that key by a CA of the customer's: leaf first, then intermediates. Default: none, and agents pin the key.",
    ),
  ),
  'seal.clusters': rows(
    "How the agents of clusters are known in sealed calls, for each cluster: cluster, pins (list of sha256:HEX, as agent seal show prints them), caFile (CA of that customer's, in PEM, with its CRLs).",
    'list of clusters',
    readSealCluster,
  ),
  'rpc.messageBytesMax': SESSION_SETTINGS['rpc.messageBytesMax'],
  'tunnel.pingInterval': SESSION_SETTINGS['tunnel.pingInterval'],
  'tunnel.silence': SESSION_SETTINGS['tunnel.silence'],
  'limits.windowBytesMax': SESSION_SETTINGS['limits.windowBytesMax'],
  'limits.sessionWindowBytesMax': SESSION_SETTINGS['limits.sessionWindowBytesMax'],
} as const

/** The settings of commands that call through a gateway. */
export type CallerSettings = SettingsOf<typeof CALLER_SETTINGS>
