import {
  address,
  bytes,
  duration,
  integer,
  listenAddress,
  optional,
  path,
  type SettingsOf,
} from './setting.ts'
import {
  IDENTITY_SETTINGS,
  LOG_SETTINGS,
  SERVER_NAME_SETTING,
  SESSION_SETTINGS,
} from './shared-settings.ts'

/** Every setting of the gateway. */
export const GATEWAY_SETTINGS = {
  'agents.listen': listenAddress('Where agents connect.', '0.0.0.0:7443'),
  'callers.listen': listenAddress(
    'Where control-plane services connect. Loopback until somebody decides otherwise.',
    '127.0.0.1:7444',
  ),
  ...IDENTITY_SETTINGS,
  'ca.directory': optional(
    path('Folder of the issuing CAs, as gateway init makes it. Without it nobody can enrol.'),
  ),
  'records.file': path(
    'Store of join tokens, certificates and events; made if missing.',
    '/var/lib/postern/gateway.db',
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
  ...LOG_SETTINGS,
} as const

export type GatewaySettings = SettingsOf<typeof GATEWAY_SETTINGS>

/** Settings of the commands that call through a gateway. */
export const CALLER_SETTINGS = {
  'gateway.address': address('The caller listener of the gateway.', '127.0.0.1:7444'),
  'gateway.serverName': SERVER_NAME_SETTING,
  ...IDENTITY_SETTINGS,
  'rpc.messageBytesMax': SESSION_SETTINGS['rpc.messageBytesMax'],
  'tunnel.pingInterval': SESSION_SETTINGS['tunnel.pingInterval'],
  'tunnel.silence': SESSION_SETTINGS['tunnel.silence'],
  'limits.windowBytesMax': SESSION_SETTINGS['limits.windowBytesMax'],
  'limits.sessionWindowBytesMax': SESSION_SETTINGS['limits.sessionWindowBytesMax'],
} as const

export type CallerSettings = SettingsOf<typeof CALLER_SETTINGS>
