import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Readable } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { once } from './edge.ts'
import type { TlsFacts } from './tls-wire.ts'

/** How long a client may go on sending what nobody reads, in ms. */
const LEFT_MS_MAX = 1000
/** A client that takes nothing for so long wants the answer no more, nor one that takes so long for the end of it, in ms. */
const STALL_MS_MAX = 120_000

/** Who is at the other end of an API connection. */
export interface ApiPeer {
  /** What its certificate says; undefined where none was asked for. */
  readonly facts: TlsFacts | undefined
  /** Name that TLS was asked for (RFC 6066, section 3), in lower case; empty: none. */
  readonly serverName: string
  /** "address:port". */
  readonly address: string
  /** IPv4 address, or IPv6 /64. */
  readonly network: string
}

/** Header fields by name, in lower case; several of one name are joined by commas. */
export type HeaderFields = Readonly<Record<string, string>>

/** One request of the API, over HTTP/2 or HTTP/1.1, whose head was read. */
export interface ApiExchange {
  readonly isHttp2: boolean
  readonly method: string
  /** Path and query, as they came. */
  readonly target: string
  /** Host and port that it is for, as they came. */
  readonly authority: string
  readonly headers: HeaderFields
  readonly peer: ApiPeer
  /** Bytes of the body, at the pace that they are read. Ends early, with an error, where the client goes. */
  readonly body: AsyncIterable<Buffer>
  /** Fields that go with the answer, whatever it is. */
  always: HeaderFields
  /** The head of the answer was sent. */
  readonly hasBegun: boolean
  /** Calls back once where the client goes before the answer is whole. */
  onGone(listener: () => void): void
  /** Calls back once, when nothing of it is held any more. */
  onClosed(listener: () => void): void
  /** Begins the answer. */
  begin(status: number, headers: HeaderFields): void
  /** Sends a part of the body; resolves once the next one may be sent. */
  write(bytes: Buffer): Promise<void>
  /** Ends the answer. `trailers`: over HTTP/2 alone. */
  end(trailers?: HeaderFields): void
  /** The whole answer at once. */
  answer(status: number, headers: HeaderFields, body: Buffer, trailers?: HeaderFields): void
  /** Ends it without an answer. */
  abort(): void
  /** Says that nothing was begun, so that a client calls elsewhere by itself (RFC 9113, section 8.7); false: it cannot be said here. */
  decline(): boolean
}

/** A request over HTTP/2 (RFC 9113). */
export class Http2Exchange implements ApiExchange {
  readonly isHttp2 = true
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly headers: HeaderFields
  readonly peer: ApiPeer
  always: HeaderFields = {}
  readonly #stream: ServerHttp2Stream
  readonly #clock: Pick<Clock, 'startTimer'>
  readonly #listeners: (() => void)[] = []
  #isOver = false
  #trailers: HeaderFields | undefined

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    peer: ApiPeer,
    clock: Pick<Clock, 'startTimer'>,
  ) {
    this.#stream = stream
    this.#clock = clock
    this.peer = peer
    this.method = headers[':method'] ?? ''
    this.target = headers[':path'] ?? ''
    this.authority = headers[':authority'] ?? headers.host ?? ''
    this.headers = fieldsOf(headers)
  }

  get body(): AsyncIterable<Buffer> {
    return unbroken(this.#stream)
  }

  get hasBegun(): boolean {
    return this.#stream.headersSent
  }

  onGone(listener: () => void): void {
    this.onClosed(() => {
      if (!this.#stream.writableFinished || this.#stream.rstCode !== constants.NGHTTP2_NO_ERROR)
        listener()
    })
  }

  /** One listener for all: streams are many, and each has several that wait for its end. */
  onClosed(listener: () => void): void {
    if (this.#isOver) {
      listener()
      return
    }
    if (this.#listeners.push(listener) > 1) return
    once(this.#stream, 'close', () => {
      this.#isOver = true
      for (const one of this.#listeners.splice(0)) one()
    })
  }

  begin(status: number, headers: HeaderFields): void {
    this.#respond(status, headers, true)
  }

  async write(bytes: Buffer): Promise<void> {
    const stream = this.#stream
    if (stream.destroyed || stream.write(bytes)) return
    await drained(stream, this.#clock, () => {
      this.#destroy()
    })
  }

  end(trailers: HeaderFields = {}): void {
    this.#trailers = trailers
    this.#endWith(undefined)
  }

  answer(status: number, headers: HeaderFields, body: Buffer, trailers?: HeaderFields): void {
    this.#trailers = trailers
    this.#respond(status, headers, trailers !== undefined, body.length === 0)
    if (body.length > 0 || trailers !== undefined) this.#endWith(body)
  }

  abort(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL)
  }

  decline(): boolean {
    if (this.#stream.headersSent) return false
    this.#stream.close(constants.NGHTTP2_REFUSED_STREAM)
    return true
  }

  #endWith(body: Buffer | undefined): void {
    const stream = this.#stream
    if (stream.destroyed) return
    if (body === undefined || body.length === 0) stream.end()
    else stream.end(body)
    this.#endAfter(STALL_MS_MAX)
  }

  /** What the client has still to say is of no use any more, and is not waited for long: at once an end would overtake the answer. */
  #letGo(): void {
    if (!this.#stream.readableEnded) this.#endAfter(LEFT_MS_MAX)
  }

  #endAfter(ms: number): void {
    const stream = this.#stream
    if (stream.destroyed) return
    const cancel = this.#clock.startTimer(ms, () => {
      this.#destroy()
    })
    this.onClosed(cancel)
  }

  #destroy(): void {
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR)
    // What nobody has read would keep it for ever.
    this.#stream.destroy()
  }

  #respond(status: number, headers: HeaderFields, hasTrailers: boolean, isEmpty = false): void {
    const stream = this.#stream
    if (stream.destroyed || stream.headersSent) return
    const fields = { ':status': status, ...headers, ...this.always }
    if (!hasTrailers) {
      stream.respond(fields, { endStream: isEmpty })
      if (isEmpty) this.#letGo()
      else
        once(stream, 'finish', () => {
          this.#letGo()
        })
      return
    }
    stream.respond(fields, { waitForTrailers: true })
    once(stream, 'wantTrailers', () => {
      stream.sendTrailers({ ...this.#trailers })
      this.#letGo()
    })
  }
}

/** A request over HTTP/1.1 (RFC 9112). */
export class Http1Exchange implements ApiExchange {
  readonly isHttp2 = false
  readonly method: string
  readonly target: string
  readonly authority: string
  readonly headers: HeaderFields
  readonly peer: ApiPeer
  always: HeaderFields = {}
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #clock: Pick<Clock, 'startTimer'>

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    peer: ApiPeer,
    clock: Pick<Clock, 'startTimer'>,
  ) {
    this.#clock = clock
    this.#request = request
    this.#response = response
    this.peer = peer
    this.method = request.method ?? ''
    this.target = request.url ?? ''
    this.authority = request.headers.host ?? ''
    this.headers = fieldsOf(request.headers)
  }

  get body(): AsyncIterable<Buffer> {
    return unbroken(this.#request)
  }

  get hasBegun(): boolean {
    return this.#response.headersSent
  }

  onGone(listener: () => void): void {
    once(this.#response, 'close', () => {
      if (!this.#response.writableFinished) listener()
    })
  }

  begin(status: number, headers: HeaderFields): void {
    if (this.#response.destroyed || this.#response.headersSent) return
    this.#response.writeHead(status, { ...headers, ...this.always })
    this.#response.flushHeaders()
  }

  onClosed(listener: () => void): void {
    if (this.#response.closed) listener()
    else once(this.#response, 'close', listener)
  }

  async write(bytes: Buffer): Promise<void> {
    const response = this.#response
    if (response.destroyed || response.write(bytes)) return
    await drained(response, this.#clock, () => {
      this.abort()
    })
  }

  end(): void {
    if (!this.#response.destroyed) this.#response.end()
    this.#letGo()
  }

  answer(status: number, headers: HeaderFields, body: Buffer): void {
    const response = this.#response
    if (response.destroyed || response.headersSent) return
    const length = status === 204 ? {} : { 'content-length': String(body.length) }
    // Told that it ends, the client sends nothing more on it.
    if (!this.#request.complete) response.shouldKeepAlive = false
    response.writeHead(status, { ...headers, ...this.always, ...length })
    response.end(body)
    this.#letGo()
  }

  abort(): void {
    this.#request.socket.destroy()
  }

  decline(): boolean {
    return false
  }

  /** What is left of a body that nobody has read would be taken for the next request. */
  #letGo(): void {
    const { socket } = this.#request
    const cancel = this.#clock.startTimer(STALL_MS_MAX, () => socket.destroy())
    once(this.#response, 'close', cancel)
    if (this.#request.complete) return
    once(this.#response, 'finish', () => {
      socket.end()
      const cancelLeft = this.#clock.startTimer(LEFT_MS_MAX, () => socket.destroy())
      once(socket, 'close', cancelLeft)
    })
  }
}

/** Who stops reading has no wish to end the connection, or the answer with it. */
function unbroken(readable: Readable): AsyncIterable<Buffer> {
  return readable.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
}

/** Resolves when a stream takes more, or will never; one that takes nothing for long is ended. */
function drained(
  stream: ServerHttp2Stream | ServerResponse,
  clock: Pick<Clock, 'startTimer'>,
  giveUp: () => void,
): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.startTimer(STALL_MS_MAX, giveUp)
    const stopDrain = once(stream, 'drain', done)
    const stopClose = once(stream, 'close', done)
    function done(): void {
      cancel()
      stopDrain()
      stopClose()
      resolve()
    }
  })
}

/** Pseudo-headers are left out. */
function fieldsOf(headers: IncomingHttpHeaders | IncomingMessage['headers']): HeaderFields {
  const fields: Record<string, string> = Object.create(null) as Record<string, string>
  for (const name of Object.keys(headers)) {
    if (name.startsWith(':')) continue
    const value = headers[name]
    if (value !== undefined) fields[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return fields
}
