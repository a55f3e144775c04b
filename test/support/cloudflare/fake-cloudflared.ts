/**
 * A stand-in for cloudflared: its flags, variables, log lines, /ready, exit statuses and signals, as far as a supervisor meets them,
 * and a connector that really carries bytes from the edge to a tcp:// ingress. FAKE_* variables make it misbehave.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { EdgeConnection } from './fake-connection.ts'

const VERSION = process.env.FAKE_VERSION ?? '2026.8.2'
const USAGE_FLAGS = {
  tunnel: ['--no-autoupdate', '--config', '--metrics', '--output', '--loglevel', '--grace-period'],
  run: ['--token-file'],
}
const VALUED = ['--config', '--metrics', '--output', '--loglevel', '--grace-period', '--token-file']

function log(level: string, message: string, facts: object = {}): void {
  const time = new Date().toISOString()
  process.stderr.write(`${JSON.stringify({ level, time, ...facts, message })}\n`)
}

/** Exit 0, with its usage on stdout: so it answers what it does not know. */
function usage(): never {
  process.stdout.write('NAME:\n   cloudflared tunnel - usage\n')
  process.exit(0)
}

function parse(args: readonly string[]): Map<string, string> {
  const found = new Map<string, string>()
  let level: readonly string[] = USAGE_FLAGS.tunnel
  for (let i = 1; i < args.length; i++) {
    const word = args[i] ?? ''
    if (word === 'run') level = USAGE_FLAGS.run
    else if (!level.includes(word)) usage()
    else found.set(word, VALUED.includes(word) ? (args[++i] ?? '') : 'true')
  }
  return found
}

function tokenIn(path: string): { a: string; t: string; s: string } {
  try {
    const text = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64').toString()
    return JSON.parse(text) as { a: string; t: string; s: string }
  } catch {
    process.stderr.write('Provided Tunnel token is not valid.\n')
    process.exit(255)
  }
}

const args = process.argv.slice(2)
if (args[0] === 'version') {
  process.stdout.write(`${VERSION}\n`)
  process.exit(0)
}
if (args[0] !== 'tunnel' || process.env.FAKE_USAGE !== undefined) usage()
const flags = parse(args)
const token = tokenIn(flags.get('--token-file') ?? '')
const own = createHash('sha256')
  .update(readFileSync(process.env.FAKE_SELF ?? process.argv[1] ?? ''))
  .digest('hex')
log('info', `Version ${VERSION} (Checksum ${own})`)
if (process.env.FAKE_DNS !== undefined) {
  log('error', 'edge discovery: error looking up Cloudflare edge IPs: the DNS query failed')
  process.stderr.write('Could not lookup srv records on _v2-origintunneld._tcp.argotunnel.com\n')
  process.exit(1)
}
const protocol = process.env.TUNNEL_TRANSPORT_PROTOCOL ?? 'quic'
log('info', `Initial protocol ${protocol}`)

const METRICS = `# TYPE cloudflared_tunnel_ha_connections gauge\ncloudflared_tunnel_ha_connections 2\nbuild_info{version="x"} 1\npostern_lockdown 7\n`
let isStopping = false
const addresses = (process.env.TUNNEL_EDGE ?? '').split(',').filter((one) => one !== '')
const connections: EdgeConnection[] = []
const metrics = createServer((request, response) => {
  if (request.url === '/metrics') {
    response.end(METRICS)
    return
  }
  const ready = isStopping ? 0 : connections.filter(({ isRegistered }) => isRegistered).length
  response.statusCode = request.url !== '/ready' ? 404 : ready > 0 ? 200 : 503
  response.end(
    JSON.stringify({ status: response.statusCode, readyConnections: ready, connectorId: 'x' }),
  )
})
metrics.listen(0, '127.0.0.1', () => {
  const { port } = metrics.address() as AddressInfo
  log('info', `Starting metrics server on 127.0.0.1:${String(port)}/metrics`)
  connect()
})

function connect(): void {
  if (protocol === 'quic') {
    // This one knows no QUIC: as where UDP is blocked.
    log('error', 'Failed to dial a quic connection', {
      error: 'timeout: no recent network activity',
      connIndex: 0,
    })
    setTimeout(connect, 1000)
    return
  }
  const caPem = readFileSync(process.env.TUNNEL_CACERT ?? '', 'utf8')
  for (const [connIndex, address] of addresses.entries()) {
    connections.push(
      new EdgeConnection({
        ...{ address, caPem, token, connIndex, log, version: VERSION },
        isStopping: () => isStopping,
        onFirstRefused: () => {
          process.stderr.write('initial tunnel connection failed\n')
          process.exit(1)
        },
      }),
    )
  }
}

process.once('SIGTERM', () => {
  log('info', 'Initiating graceful shutdown due to signal terminated ...')
  isStopping = true
  const graceMs = Number.parseInt(flags.get('--grace-period') ?? '30', 10) * 1000
  setTimeout(() => metrics.close(), graceMs).unref()
  void Promise.all(connections.map((one) => one.leave())).then(() => {
    log('info', 'Tunnel server stopped')
    process.exit(0)
  })
})
