import {
  Agent,
  createServer,
  request as startRequest,
  type ClientRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { pipeline, Transform, type Duplex, type TransformCallback } from 'node:stream'
import { PosternError } from '../base/errors.ts'
import { Permit, type Denial, type Direction, type HttpAsk } from '../contract/call-guard.ts'
import { ignoreErrors, on, once, total } from './edge.ts'
import { normalPath } from './http-path.ts'

const HEADER_BYTES_MAX = 16 * 1024
const REQUESTS_MAX = 10_000
const IDLE_MS = 300_000
/** Of one connection alone (RFC 9110, section 7.6.1), and what the two ends agree on anew. */
const HOP_BY_HOP = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate'],
  ...['proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect'],
])

/** The decision and the target that a gate is given. */
export interface HttpGatePorts {
  /** Decides on one request. */
  judge(ask: HttpAsk): Permit | Denial
  /** Connects to the target. @throws TARGET_FORBIDDEN, TARGET_UNREACHABLE */
  dial(): Promise<Duplex>
  /** Told of what is no HTTP, and of a target that fails, by a code. */
  onProblem(code: 'MALFORMED_CALL' | 'TARGET_UNREACHABLE'): void
}

/**
 * Lets HTTP/1.1 through from one connection to a target, request by request: each is parsed whole, judged, and written anew.
 * What is not HTTP ends the connection.
 */
export class HttpGate {
  readonly #ports: HttpGatePorts
  readonly #server: Server
  readonly #agent: TargetAgent

  constructor(ports: HttpGatePorts) {
    this.#ports = ports
    this.#agent = new TargetAgent(() => ports.dial())
    this.#server = createServer({
      maxHeaderSize: HEADER_BYTES_MAX,
      keepAliveTimeout: IDLE_MS,
      requestTimeout: 0,
      insecureHTTPParser: false,
      requireHostHeader: true,
    })
    this.#server.maxRequestsPerSocket = REQUESTS_MAX
    on(this.#server, 'request', (request: IncomingMessage, response: ServerResponse) => {
      this.#serve(request, response)
    })
    on(this.#server, 'upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#upgrade(request, socket, head)
    })
    on(this.#server, 'connect', (_request: IncomingMessage, socket: Duplex) => {
      socket.end('HTTP/1.1 405 Method Not Allowed\r\nconnection: close\r\n\r\n')
    })
    on(this.#server, 'clientError', (_error: Error, socket: Duplex) => {
      ports.onProblem('MALFORMED_CALL')
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n')
      else socket.destroy()
    })
  }

  /** Takes the connection of a caller. */
  take(socket: Duplex): void {
    ignoreErrors(socket)
    once(socket, 'close', () => {
      this.#agent.destroy()
    })
    this.#server.emit('connection', socket)
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const permit = this.#judge(request, false)
    if (!Permit.is(permit)) {
      request.resume()
      refuse(response, permit)
      return
    }
    const target = this.#start(request, permit)
    permit.onWithdrawn = () => {
      response.destroy()
      target.destroy()
    }
    once(response, 'close', () => {
      if (!response.writableFinished) target.destroy()
      permit.ended(response.writableFinished ? 'OK' : 'CANCELLED')
    })
    once(target, 'response', (answer: IncomingMessage) => {
      response.writeHead(answer.statusCode ?? 502, forwarded(answer.rawHeaders))
      pipeline(answer, counted(permit, 'out'), response, () => undefined)
    })
    on(target, 'error', () => {
      if (response.headersSent) response.destroy()
      else {
        this.#ports.onProblem('TARGET_UNREACHABLE')
        refuse(response, { code: 'TARGET_UNREACHABLE', text: 'the service did not answer' })
      }
    })
    pipeline(request, counted(permit, 'in'), target, (error) => {
      if (error instanceof PosternError && !response.headersSent)
        refuse(response, { code: error.code, text: error.rawMessage })
    })
  }

  /** A rule must say so: afterwards both sides are bytes. */
  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    ignoreErrors(socket)
    const permit = this.#judge(request, true)
    if (!Permit.is(permit)) {
      const status = STATUS[permit.code] ?? 403
      socket.end(`HTTP/1.1 ${String(status)} Refused\r\nconnection: close\r\n\r\n`)
      return
    }
    const target = this.#start(request, permit, [
      'connection',
      'Upgrade',
      'upgrade',
      request.headers.upgrade ?? '',
    ])
    permit.onWithdrawn = () => {
      socket.destroy()
      target.destroy()
    }
    once(socket, 'close', () => {
      target.destroy()
      permit.ended('OK')
    })
    once(target, 'upgrade', (answer: IncomingMessage, other: Duplex, otherHead: Buffer) => {
      ignoreErrors(other)
      const upgrade = answer.headers.upgrade ?? ''
      const lines = [
        `HTTP/1.1 101 Switching Protocols`,
        'connection: Upgrade',
        `upgrade: ${upgrade}`,
      ]
      const pairs = forwarded(answer.rawHeaders)
      for (let at = 0; at < pairs.length; at += 2)
        lines.push(`${pairs[at] ?? ''}: ${pairs[at + 1] ?? ''}`)
      socket.write(`${lines.join('\r\n')}\r\n\r\n`)
      if (head.length > 0) socket.unshift(head)
      if (otherHead.length > 0) other.unshift(otherHead)
      pipeline(socket, counted(permit, 'in'), other, () => undefined)
      pipeline(other, counted(permit, 'out'), socket, () => undefined)
    })
    once(target, 'response', (answer: IncomingMessage) => {
      answer.resume()
      socket.end(
        `HTTP/1.1 ${String(answer.statusCode ?? 502)} Refused\r\nconnection: close\r\n\r\n`,
      )
    })
    on(target, 'error', () => {
      this.#ports.onProblem('TARGET_UNREACHABLE')
      socket.end('HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n')
    })
    target.end()
  }

  #judge({ method = '', url = '' }: IncomingMessage, isUpgrade: boolean): Permit | Denial {
    const path = normalPath(url)
    if (path === undefined)
      return { code: 'MALFORMED_CALL', text: 'servers could read this path in different ways' }
    return this.#ports.judge({ method, path, isUpgrade })
  }

  /** Begins the request to the target: the same method, target and headers, but for what is of one connection. */
  #start(
    { method = 'GET', url = '/', rawHeaders }: IncomingMessage,
    _permit: Permit,
    more: readonly string[] = [],
  ): ClientRequest {
    return startRequest({
      agent: this.#agent,
      method,
      path: url,
      headers: [...forwarded(rawHeaders), ...more],
      setHost: false,
    })
  }
}

const STATUS: Readonly<Partial<Record<Denial['code'], number>>> = {
  MALFORMED_CALL: 400,
  POLICY_DENIED: 403,
  LOCKED_DOWN: 403,
  MESSAGE_TOO_LARGE: 413,
  POLICY_BUDGET: 429,
  TARGET_UNREACHABLE: 502,
  RECORD_UNWRITABLE: 503,
}

function refuse(response: ServerResponse, { code, text }: Denial): void {
  response.writeHead(STATUS[code] ?? 403, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
  })
  response.end(`${JSON.stringify({ code, message: text })}\n`)
}

/** The headers that go on, in pairs: those of one connection, and those that `Connection` names, do not. */
function forwarded(raw: readonly string[]): string[] {
  const named = new Set(HOP_BY_HOP)
  for (let at = 0; at < raw.length; at += 2)
    if (raw[at]?.toLowerCase() === 'connection')
      for (const name of (raw[at + 1] ?? '').split(',')) named.add(name.trim().toLowerCase())
  const kept: string[] = []
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] ?? ''
    if (!named.has(name.toLowerCase())) kept.push(name, raw[at + 1] ?? '')
  }
  return kept
}

/** Passes bytes on as far as a permit lets them. */
function counted(permit: Permit, direction: Direction): Transform {
  let bytes = 0
  return new Transform({
    transform: total(
      (chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback) => {
        bytes += chunk.length
        const denial =
          bytes > permit.messageBytesMax
            ? ({
                code: 'MESSAGE_TOO_LARGE',
                text: `it has over ${String(permit.messageBytesMax)} bytes`,
              } as const)
            : permit.pass(direction, chunk.length)
        if (denial === undefined) done(null, chunk)
        else done(new PosternError(denial.code, denial.text))
      },
      (fault, _chunk, _encoding, done) => {
        done(fault)
      },
    ),
  })
}

/** Connections to the target, one at a time, kept as long as that of the caller. */
class TargetAgent extends Agent {
  readonly #dial: () => Promise<Duplex>

  constructor(dial: () => Promise<Duplex>) {
    super({ keepAlive: true, maxSockets: 1 })
    this.#dial = dial
  }

  override createConnection(
    _options: object,
    done?: (error: Error | null, socket: Duplex) => void,
  ): undefined {
    this.#dial().then(
      (socket) => done?.(null, socket),
      (error: unknown) => done?.(error as Error, undefined as unknown as Duplex),
    )
  }
}
