import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Transform } from 'node:stream'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Authority, USAGE_SERVER } from '../../../src/identity/authority.ts'
import {
  bootstrapReturn,
  CALL,
  emptyReturn,
  refused,
  registered,
  RpcReader,
  type Registration,
} from './capnp.ts'
import type { Upgrade } from './front.ts'

const HOUR_MS = 3_600_000
const KIND = 'cf-cloudflared-proxy-connection-upgrade'
const PACKED = 'cf-cloudflared-response-headers'

/** A connector that has come to the edge. */
interface Connection {
  readonly session: ClientHttp2Session
  readonly socket: TLSSocket
  isRegistered: boolean
}

/**
 * A stand-in for Cloudflare's edge towards connectors: TLS, over it HTTP/2 with the edge as the client, and on its first stream the
 * registration. A real, unmodified cloudflared takes it for one (with --edge and --cacert).
 */
export class EdgeStandIn {
  readonly registrations: Registration[] = []
  readonly caFile: string
  /** Pushed to each connector as its configuration. */
  ingress = 'http_status:404'
  /** In place of registering: a cause; the connection is closed then. */
  refusal: string | undefined
  /** Flips a bit of what goes to connectors. */
  isTampering = false
  /** Takes connections, and never speaks. */
  isMute = false
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  port = 0

  private constructor(folder: string, pem: { cert: string; key: string; ca: string }) {
    this.caFile = join(folder, 'edge-ca.pem')
    writeFileSync(this.caFile, pem.ca)
    this.#server = createServer({ cert: pem.cert, key: pem.key, noDelay: true })
    this.#server.on('secureConnection', (socket) => {
      socket.on('error', () => undefined)
      if (!this.isMute) this.#arrived(socket)
    })
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy())
  }

  static async start(folder: string): Promise<EdgeStandIn> {
    const validity = {
      notBefore: new Date(Date.now() - HOUR_MS),
      notAfter: new Date(Date.now() + HOUR_MS),
    }
    const root = await Authority.createRoot('edge root', validity)
    const { certificatePem: cert, keyPem: key } = await root.issueLeaf({
      commonName: 'edge',
      uris: [],
      dnsNames: ['h2.cftunnel.com', 'probe.cftunnel.com'],
      usage: [USAGE_SERVER],
      ...validity,
    })
    const edge = new EdgeStandIn(folder, { cert, key, ca: root.certificatePem })
    await new Promise<void>((resolve) => {
      edge.#server.listen(0, '127.0.0.1', resolve)
    })
    edge.port = (edge.#server.address() as AddressInfo).port
    return edge
  }

  get connected(): number {
    return [...this.#connections].filter(({ isRegistered }) => isRegistered).length
  }

  /** Carries a front's WebSockets to a connector: its bytes as they are, both ways. */
  readonly upgrade: Upgrade = (request, socket, head) => {
    const found = [...this.#connections].find(({ isRegistered }) => isRegistered)
    if (found === undefined) {
      socket.end('HTTP/1.1 530 No\r\ncf-ray: 8f00-LIS\r\ncontent-length: 0\r\n\r\n')
      return
    }
    const key = String(request.headers['sec-websocket-key'])
    const stream = found.session.request(
      {
        ':method': 'GET',
        ':path': request.url ?? '/',
        ':authority': request.headers.host ?? '',
        ':scheme': 'https',
        [KIND]: 'websocket',
        'sec-websocket-key': key,
        'sec-websocket-version': '13',
      },
      { endStream: false },
    )
    stream.on('error', () => socket.destroy())
    socket.on('close', () => stream.close())
    stream.on('close', () => socket.destroy())
    stream.once('response', (headers) => {
      if (headers[':status'] !== 200) {
        socket.end(
          `HTTP/1.1 ${String(headers[':status'])} No\r\ncf-ray: 8f00-LIS\r\ncontent-length: 0\r\n\r\n`,
        )
        return
      }
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${unpacked(headers[PACKED])}\r\n`)
      if (head.length > 0) stream.write(head)
      socket.pipe(this.#tampering()).pipe(stream)
      stream.pipe(socket)
    })
  }

  /** Ends the connections of all connectors, as an edge that restarts does. */
  drop(): void {
    for (const { socket } of this.#connections) socket.destroy()
  }

  stop(): void {
    this.#server.close()
    this.drop()
  }

  /** One bit of what is long enough to be no handshake of a WebSocket, where it is to be so. */
  #tampering(): Transform {
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        const last = chunk.length - 1
        if (this.isTampering && last > 40) chunk[last] = (chunk[last] ?? 0) ^ 1
        done(null, chunk)
      },
    })
  }

  #arrived(socket: TLSSocket): void {
    const session = connectHttp2('http://edge', { createConnection: () => socket })
    session.on('error', () => undefined)
    const connection = { session, socket, isRegistered: false }
    this.#connections.add(connection)
    socket.on('close', () => this.#connections.delete(connection))
    const control = session.request(
      { ':path': '/', [KIND]: 'control-stream' },
      { endStream: false },
    )
    control.on('error', () => undefined)
    const reader = new RpcReader()
    control.on('data', (chunk: Buffer) => {
      for (const message of reader.add(chunk)) this.#answer(message, control, connection)
    })
  }

  #answer(
    message: ReturnType<RpcReader['add']>[number],
    control: ClientHttp2Stream,
    connection: Connection,
  ): void {
    if (message.kind === 'bootstrap') control.write(bootstrapReturn(message.question))
    if (message.kind !== 'call') return
    const { question, method, register } = message
    if (method !== CALL.register) {
      control.write(emptyReturn(question))
      if (method === CALL.unregister) this.#left(connection)
      return
    }
    if (register !== undefined) this.registrations.push(register)
    if (this.refusal !== undefined) {
      control.write(refused(question, this.refusal, false), () => connection.socket.destroy())
      return
    }
    control.write(registered(question, 'lis01'))
    this.#configure(connection)
  }

  /** Its streams may end; then the edge closes, as a connector waits for. */
  #left(connection: Connection): void {
    connection.isRegistered = false
    connection.session.close()
  }

  #configure(connection: Connection): void {
    const body = JSON.stringify({ version: 1, config: { ingress: [{ service: this.ingress }] } })
    const stream = connection.session.request(
      { ':method': 'POST', ':path': '/', [KIND]: 'update-configuration' },
      { endStream: false },
    )
    stream.on('error', () => undefined)
    stream.resume()
    stream.on('end', () => {
      connection.isRegistered = true
    })
    stream.end(body)
  }
}

/** Headers of the answer, which cloudflared packs into one. */
function unpacked(packed: string | string[] | undefined): string {
  const text = typeof packed === 'string' ? packed : ''
  return text
    .split(';')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const [name = '', value = ''] = pair
        .split(':')
        .map((part) => Buffer.from(part, 'base64').toString())
      return `${name}: ${value}\r\n`
    })
    .join('')
}
