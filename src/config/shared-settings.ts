import {
  bytes,
  choice,
  duration,
  integer,
  listenAddress,
  optional,
  path,
  running,
  text,
  words,
  type Setting,
} from './setting.ts'

const TRUST_DOMAIN = /^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$/

/** Who we are and whom we trust: the same rows for every program. */
export const IDENTITY_SETTINGS = {
  trustDomain: text(
    'Trust domain that every identity must belong to.',
    undefined,
    TRUST_DOMAIN,
    'domain name',
  ),
  'identity.certificateFile': path('Our certificate in PEM: leaf first, then intermediates.'),
  'identity.keyFile': path('Our private key in PEM (PKCS#8), readable by its owner alone.'),
  'identity.bundleFile': path('Trust bundle in PEM: the roots that peers must chain to.'),
} as const

/** How private keys are encrypted on disk. */
export const PASSPHRASE_SETTINGS = {
  'identity.passphraseFile': optional(
    path(
      'File with the passphrase of the private keys on disk, readable by its owner alone. Default: the systemd credential key-passphrase, where there is one; else keys are not encrypted.',
    ),
  ),
  'identity.passphraseCommand': running(
    words(
      'Program with arguments that prints the passphrase, for a KMS or TPM; in place of the file.',
    ),
    (command) => command.length > 0,
  ),
} as const

/** The settings of the log, of both programs. */
export const LOG_SETTINGS = {
  'log.level': choice('Least severe log lines written to stderr.', 'info', [
    'debug',
    'info',
    'warn',
    'error',
  ]),
} as const

/** The settings of metrics, of both programs. */
export const METRICS_SETTINGS = {
  'metrics.listen': optional(
    listenAddress(
      'Where /metrics, /livez and /readyz are read, over plain HTTP: loopback, or a network of your own. Default: nowhere.',
    ),
  ),
} as const

/** Makes the setting that lets what another names leave the machine in plain text. */
export function plaintextSetting(name: string): Setting<'refused' | 'allowed'> {
  return choice(
    `Whether ${name} may be elsewhere than on this machine, where what is said to it goes in plain text; agent posture then shows FAIL.`,
    'refused',
    ['refused', 'allowed'],
  )
}

/** The settings of tracing, of both programs. */
export const TRACING_SETTINGS = {
  'tracing.url': optional(
    text(
      'Collector that spans of calls are sent to, by OTLP over HTTP. They name methods, callers and clusters, and hold nothing that calls carry. Default: nowhere.',
      undefined,
      /^https?:\/\/[^\s?#@]+$/,
      'http://host:port/v1/traces',
    ),
  ),
  'tracing.percent': integer(
    'Of traces that begin here, how many in a hundred are kept; others follow the decision of who began them.',
    10,
    { min: 0, max: 100 },
  ),
} as const

/** The session and its limits: the same rows for both daemons. */
export const SESSION_SETTINGS = {
  'tunnel.pingInterval': duration(
    'Time between two pings, at most. Below the 30 s idle cut of many middleboxes; an agent whose tunnels are cut after a while pings more often by itself, down to 2 s.',
    '10s',
    ['100ms', '5m'],
  ),
  'tunnel.silence': duration(
    'Silence, or a write without progress, after which a connection counts as dead. Two lost pings.',
    '20s',
    ['300ms', '10m'],
  ),
  'limits.streamsMax': integer('Streams that a peer may hold open on one session.', 4096, {
    min: 1,
    max: 1_000_000,
  }),
  'limits.windowBytesMax': bytes(
    'Largest receive window of one stream; covers 100 MB/s at 140 ms.',
    '16MiB',
    ['256KiB', '64MiB'],
  ),
  'limits.sessionWindowBytesMax': bytes(
    'Largest sum of receive windows on one session. Half is for 4096 windows of 16 KiB, half for speed.',
    '128MiB',
    ['1MiB', '1GiB'],
  ),
  'rpc.messageBytesMax': bytes('Largest message of a call, in either direction.', '4MiB', [
    '1KiB',
    '64MiB',
  ]),
  'drain.grace': duration('How long running calls may go on after the order to stop.', '30s', [
    '0s',
    '1h',
  ]),
} as const

/** The setting that names the gateway in TLS. */
export const SERVER_NAME_SETTING = optional(
  text('DNS name that the gateway certificate must hold. Default: the host of gateway.address.'),
)
