import {
  address,
  choice,
  choices,
  duration,
  listenAddress,
  optional,
  path,
  running,
  text,
} from './setting.ts'

/** The ways that an agent may take to its gateways. */
export const WAYS = ['direct', 'cloudflare-dial', 'cloudflare-connector'] as const

/** A way to the gateways. */
export type WayName = (typeof WAYS)[number]

/** The settings of an agent that say by which ways it comes to its gateways. */
export const CARRIER_SETTINGS = {
  via: choices(
    'Ways to the gateways, in order of preference: direct; cloudflare-dial, by WSS to the host name that the control plane has at Cloudflare; cloudflare-connector, through a cloudflared that the agent supervises and that gateways dial. Where one fails the next is taken, and a better one again as soon as it works (docs/CLOUDFLARE.md).',
    ['direct'],
    WAYS,
  ),
  'backoff.way': duration(
    'A way that failed is not tried before this where there is another; doubled with each failure in a row, up to 5 minutes.',
    '30s',
    ['100ms', '5m'],
  ),
  'cloudflare.address': optional(
    address('Host name and port of the control plane at Cloudflare, such as cp.example.com:443.'),
  ),
  'cloudflare.serviceTokenFile': optional(
    path(
      'File with the service token for Cloudflare Access, readable by its owner alone: CF-Access-Client-Id: and CF-Access-Client-Secret: on a line each. It is read anew for each dial. Default: none is shown.',
    ),
  ),
  'cloudflare.caFile': optional(
    path(
      'Roots in PEM that the certificate of that host name must chain to. Default: those of the system.',
    ),
  ),
  'cloudflared.path': running(
    optional(
      path(
        'The cloudflared to run. Default: CLOUDFLARED_BIN of the environment, then PATH, then that of the npm package cloudflared. It is never downloaded.',
      ),
    ),
    (value) => value !== undefined,
  ),
  'cloudflared.sha256': optional(
    text(
      'SHA-256 that this program must have, checked before each start.',
      undefined,
      /^[0-9a-f]{64}$/,
      '64 hexadecimal digits in lower case',
    ),
  ),
  'cloudflared.tokenFile': optional(
    path('File with the token of the tunnel, readable by its owner alone.'),
  ),
  'cloudflared.listen': listenAddress(
    'Where cloudflared brings what gateways dial: an address of this machine alone, which the ingress of the tunnel names as tcp://127.0.0.1:7865.',
    '127.0.0.1:7865',
  ),
  'cloudflared.protocol': choice(
    'How cloudflared comes to the edge. auto: by QUIC (UDP 7844), and at the next start by HTTP/2 (TCP 7844) where that did not work.',
    'auto',
    ['auto', 'quic', 'http2'],
  ),
  'cloudflared.startTimeout': duration(
    'Longest time from a start to readiness. cloudflared may wait 65 s for silent resolvers alone.',
    '90s',
    ['1s', '10m'],
  ),
  'cloudflared.outage': duration(
    'A cloudflared that was ready, and is not for this long, is replaced: its own retries take up to minutes.',
    '20s',
    ['1s', '10m'],
  ),
  'cloudflared.grace': duration(
    'Longest time between SIGTERM and SIGKILL. It has no streams left by then.',
    '5s',
    ['1s', '3m'],
  ),
} as const
