import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { createHash } from 'node:crypto'
import { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import { bootstrap, register, registrationIn, unregister } from './capnp-write.ts'

const KIND = 'cf-cloudflared-proxy-connection-upgrade'
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const COPY_BYTES = 16_384
const RETRY_MS = 1500

export interface ConnectionPorts {
  readonly address: string
  readonly caPem: string
  readonly token: { readonly a: string; readonly s: string }
  readonly connIndex: number
  readonly version: string
  readonly log: (level: string, message: string, facts?: object) => void
  readonly isStopping: () => boolean
  /** The edge closed before the first registration, for another reason than the token. */
  readonly onFirstRefused: () => void
}

/** One connection of the stand-in connector to an edge, made anew when it is lost. */
export class EdgeConnection {
  isRegistered = false
  readonly #ports: ConnectionPorts
  #wasRegistered = false
  #control: ServerHttp2Stream | undefined
  #ended: () => void = () => undefined
  #socket: TLSSocket | undefined
  #target = 'http_status:404'
  #version = -1

  constructor(ports: ConnectionPorts) {
    this.#ports = ports
    this.#dial()
  }

  /** Takes the registration back, and waits until the edge has closed, as with streams that are open it does not. */
  async leave(): Promise<void> {
    if (this.#socket === undefined || this.#socket.destroyed) return
    await new Promise<void>((resolve) => {
      this.#ended = resolve
      if (this.#control === undefined) this.#socket?.destroy()
      else this.#control.write(unregister(2))
    })
  }

  #dial(): void {
    const { address, caPem, connIndex, log } = this.#ports
    const [host = '', port = ''] = address.split(':')
    const socket = connect({ host, port: Number(port), ca: caPem, servername: 'h2.cftunnel.com' })
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', (error) => {
      log('error', 'Unable to establish connection with Cloudflare edge', {
        error: error.message,
        connIndex,
      })
    })
    socket.once('secureConnect', () => {
      const session = performServerHandshake(socket)
      session.on('error', () => undefined)
      session.on('stream', (stream, headers) => {
        stream.on('error', () => undefined)
        this.#serve(stream, headers[KIND], headers, session)
      })
    })
    socket.once('close', () => {
      this.#lost()
    })
  }

  #lost(): void {
    const { connIndex, log, isStopping } = this.#ports
    if (this.isRegistered) log('error', 'Lost connection with the edge', { connIndex })
    this.isRegistered = false
    this.#control = undefined
    this.#ended()
    if (!isStopping())
      setTimeout(() => {
        this.#dial()
      }, RETRY_MS)
  }

  #serve(
    stream: ServerHttp2Stream,
    kind: unknown,
    headers: Readonly<Record<string, unknown>>,
    session: ServerHttp2Session,
  ): void {
    if (kind === 'control-stream') this.#register(stream, session)
    else if (kind === 'update-configuration') this.#configure(stream)
    else if (kind === 'websocket') this.#carry(stream, String(headers['sec-websocket-key']))
    else stream.respond({ ':status': 502 }, { endStream: true })
  }

  #register(stream: ServerHttp2Stream, session: ServerHttp2Session): void {
    const { token, connIndex, version, log, onFirstRefused } = this.#ports
    this.#control = stream
    stream.respond({ ':status': 200 })
    stream.write(bootstrap(0))
    stream.write(register(1, token, connIndex, version))
    let bytes = Buffer.alloc(0)
    stream.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      while (bytes.length >= 8) {
        const end = 8 + bytes.readUInt32LE(4) * 8
        if (bytes.length < end) return
        const answer = registrationIn(bytes.subarray(0, end))
        bytes = bytes.subarray(end)
        if (answer === undefined) continue
        if ('location' in answer) {
          this.isRegistered = true
          this.#wasRegistered = true
          const facts = { connIndex, location: answer.location, protocol: 'http2', event: 0 }
          log('info', 'Registered tunnel connection', facts)
          continue
        }
        log('error', 'Register tunnel error from server side', { error: answer.cause, connIndex })
        session.close()
        if (!this.#wasRegistered && !answer.cause.includes('Unauthorized')) onFirstRefused()
      }
    })
  }

  #configure(stream: ServerHttp2Stream): void {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      const { version, config } = JSON.parse(Buffer.concat(chunks).toString()) as {
        version: number
        config: { ingress: { service: string }[] }
      }
      if (version > this.#version) {
        this.#version = version
        this.#target = config.ingress[0]?.service ?? ''
        this.#ports.log('info', 'Updated to new configuration', { version })
      }
      stream.respond({ ':status': 200 })
      stream.end(JSON.stringify({ lastAppliedVersion: this.#version, err: null }))
    })
  }

  /** Answers once the target is there; then the frames of a WebSocket on one side, bytes on the other. */
  #carry(stream: ServerHttp2Stream, key: string): void {
    const [, host = '', port = ''] = /^tcp:\/\/([^:]+):(\d+)$/.exec(this.#target) ?? []
    if (host === '') {
      stream.respond({ ':status': 404 }, { endStream: true })
      return
    }
    const target = connectTcp({ port: Number(port), host, noDelay: true })
    target.once('error', (error) => {
      this.#ports.log('error', 'failed to serve incoming request', { error: error.message })
      if (stream.headersSent) stream.close()
      else stream.respond({ ':status': 502 }, { endStream: true })
    })
    target.once('connect', () => {
      const accept = createHash('sha1')
        .update(key + GUID)
        .digest('base64')
      const packed = Object.entries({
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Accept': accept,
      }).map((pair) => pair.map((part) => Buffer.from(part).toString('base64')).join(':'))
      stream.respond({ ':status': 200, 'cf-cloudflared-response-headers': packed.join(';') })
      const client = serverSide(stream)
      client.on('error', () => undefined)
      client.on('message', (data: Buffer, isBinary: boolean) => {
        // Text is discarded, and what does not fit the buffer is lost.
        if (isBinary && !target.write(data.subarray(0, COPY_BYTES))) {
          client.pause()
          target.once('drain', () => {
            client.resume()
          })
        }
      })
      client.on('close', () => target.destroy())
      stream.on('close', () => target.destroy())
      target.on('close', () => stream.close())
      target.on('data', (chunk: Buffer) => {
        for (let at = 0; at < chunk.length; at += COPY_BYTES)
          client.send(chunk.subarray(at, at + COPY_BYTES))
        if (!stream.writableNeedDrain) return
        target.pause()
        stream.once('drain', () => target.resume())
      })
    })
  }
}

/** The server's side of a WebSocket whose upgrade was answered by other means. */
function serverSide(stream: Duplex): WebSocket {
  interface Inner {
    _isServer: boolean
    setSocket(socket: Duplex, head: Buffer, options: object): void
  }
  const client = new (
    WebSocket as unknown as new (address: null, protocols: undefined, options: object) => WebSocket
  )(null, undefined, {})
  const inner = client as unknown as Inner
  inner._isServer = true
  inner.setSocket(stream, Buffer.alloc(0), {
    maxPayload: 1024 * 1024,
    allowSynchronousEvents: true,
    skipUTF8Validation: true,
  })
  return client
}
