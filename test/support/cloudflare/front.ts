import { createServer, type Server } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import { Authority, USAGE_SERVER } from '../../../src/identity/authority.ts'

/** What the connector's copy buffer takes of a message; the rest it drops without a word. */
const COPY_BYTES = 16_384
const HOUR_MS = 3_600_000
export const ACCESS = { id: 'abc.access', secret: 'a-secret-of-the-service-token' } as const

/** Takes an upgraded request on, as a connector does. */
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/**
 * A stand-in for what Cloudflare is to a client: TLS with a certificate of its own, Access by service token, WebSocket upgrades that
 * go to a connector. It checks what it is sent: an unknown host, a wrong token, text messages and messages that a connector would
 * cut are noted in `faults`.
 */
export class FrontStandIn {
  readonly faults: string[] = []
  readonly seen: { readonly host: string; readonly agent: string }[] = []
  readonly caFile: string
  readonly tokenFile: string
  /** Checked where it is set, as Access does. */
  access: { readonly id: string; readonly secret: string } | undefined = ACCESS
  /** Answered to everybody, in place of what is right: a status, and headers. */
  refusal: { readonly status: number; readonly headers?: Record<string, string> } | undefined
  /** What is kept of a message; less than what connectors keep: a fault. */
  copyBytes = COPY_BYTES
  /** Flips one bit of each message on, that goes to the connector. */
  isTampering = false
  /** Per host name: what takes its WebSockets. */
  readonly routes = new Map<string, Upgrade>()
  readonly #server: Server
  readonly #sockets = new Set<Duplex>()
  readonly #webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  port = 0

  private constructor(folder: string, certificate: { cert: string; key: string; ca: string }) {
    this.caFile = join(folder, 'front-ca.pem')
    this.tokenFile = join(folder, 'service-token')
    writeFileSync(this.caFile, certificate.ca)
    writeFileSync(this.tokenFile, tokenText(ACCESS), { mode: 0o600 })
    const { cert, key } = certificate
    this.#server = createServer({ cert, key }, (_request, response) => {
      this.#plain(response)
    })
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => undefined)
      this.#upgrade(request, socket, head)
    })
  }

  static async start(folder: string): Promise<FrontStandIn> {
    const validity = {
      notBefore: new Date(Date.now() - HOUR_MS),
      notAfter: new Date(Date.now() + HOUR_MS),
    }
    const root = await Authority.createRoot('front root', validity)
    const { certificatePem: cert, keyPem: key } = await root.issueLeaf({
      commonName: 'front',
      uris: [],
      dnsNames: ['localhost', '*.localhost'],
      usage: [USAGE_SERVER],
      ...validity,
    })
    const front = new FrontStandIn(folder, { cert, key, ca: root.certificatePem })
    await new Promise<void>((resolve) => {
      front.#server.listen(0, '127.0.0.1', resolve)
    })
    front.port = (front.#server.address() as AddressInfo).port
    return front
  }

  /** As an ingress `tcp://127.0.0.1:PORT` of a connector behind it would. `connect`: where it leads, asked for each. */
  toTcp(portOf: () => number): Upgrade {
    return (request, socket, head) => {
      const target = connect({ port: portOf(), host: '127.0.0.1', noDelay: true })
      target.on('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\ncf-ray: 8f00-LIS\r\n\r\n'))
      target.once('connect', () => {
        this.#webSockets.handleUpgrade(request, socket, head, (client) => {
          this.#carry(client, target)
        })
      })
    }
  }

  /** Ends all connections, as an edge that restarts does. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  get open(): number {
    return this.#sockets.size
  }

  stop(): void {
    this.#server.close()
    this.drop()
  }

  #plain(response: ServerResponse): void {
    response.writeHead(this.refusal?.status ?? 200, {
      'cf-ray': '8f00-LIS',
      ...this.refusal?.headers,
    })
    response.end('<html>an ordinary page</html>')
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { host = '', 'user-agent': agent = '' } = request.headers
    const name = host.split(':')[0] ?? ''
    this.seen.push({ host, agent })
    const refusal = this.refusal ?? this.#judge(request, name)
    if (refusal !== undefined) {
      const { status, headers = {} } = refusal
      const lines = Object.entries({ 'cf-ray': '8f00-LIS', 'content-length': '0', ...headers })
      socket.end(
        `HTTP/1.1 ${String(status)} No\r\n${lines.map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`,
      )
      return
    }
    this.routes.get(name)?.(request, socket, head)
  }

  #judge({ headers }: IncomingMessage, name: string): FrontStandIn['refusal'] {
    if (headers['sec-websocket-extensions'] !== undefined) this.faults.push('it offers extensions')
    if (this.access !== undefined) {
      const { 'cf-access-client-id': id, 'cf-access-client-secret': secret } = headers
      if (id === undefined) return { status: 302, headers: { location: LOGIN } }
      if (id !== this.access.id || secret !== this.access.secret) return { status: 403 }
    }
    if (this.routes.has(name)) return undefined
    this.faults.push(`no such host: ${name}`)
    return { status: 530 }
  }

  /** A connector: client to target cut at its buffer, target to client in pieces of that size, no half-close. */
  #carry(client: WebSocket, target: Socket): void {
    this.#sockets.add(target)
    target.on('close', () => {
      this.#sockets.delete(target)
      client.terminate()
    })
    target.on('error', () => undefined)
    client.on('error', () => undefined)
    client.on('close', () => target.destroy())
    client.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) this.faults.push('a text message')
      if (isBinary && data.length > COPY_BYTES)
        this.faults.push(`a message of ${String(data.length)} bytes`)
      // Text is discarded, and what does not fit is lost.
      const kept = Buffer.from(isBinary ? data.subarray(0, this.copyBytes) : [])
      const last = kept.length - 1
      if (this.isTampering && last > 20) kept[last] = (kept[last] ?? 0) ^ 1
      if (!target.write(kept)) {
        client.pause()
        target.once('drain', () => {
          client.resume()
        })
      }
    })
    target.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; at += COPY_BYTES)
        client.send(chunk.subarray(at, at + COPY_BYTES))
      if (client.bufferedAmount > COPY_BYTES * 16) {
        target.pause()
        client.ping('', undefined, () => target.resume())
      }
    })
  }
}

const LOGIN = 'https://team.cloudflareaccess.com/cdn-cgi/access/login/cp.example.com?kid=x'

/** The file of a service token. */
export function tokenText({
  id,
  secret,
}: {
  readonly id: string
  readonly secret: string
}): string {
  return `CF-Access-Client-Id: ${id}\nCF-Access-Client-Secret: ${secret}\n`
}
