import type { TLSSocket } from 'node:tls'
import type { PosternError } from '../base/errors.ts'
import type { Identity } from '../identity/name.ts'
import { on } from './edge.ts'
import { dismiss } from './farewell.ts'
import { tlsError } from './tls-errors.ts'

/** What is known of an authenticated connection. */
export interface TlsFacts {
  readonly identity: Identity
  readonly tlsVersion: string
  readonly cipher: string
  /** Key exchange group, such as X25519MLKEM768. */
  readonly group: string
  /** "address:port" of the other end. */
  readonly address: string
  readonly certificateNotBeforeMs: number
  readonly certificateNotAfterMs: number
  /** Of our own certificate in this connection, where we have shown one. */
  readonly ownNotAfterMs?: number
  /** The leaf in DER. */
  readonly certificate: Buffer
}

/** The listeners that a wire calls. */
export interface WireListener {
  onBytes(chunk: Buffer): void
  onClosed(error: PosternError | undefined): void
}

/** A TLS connection whose peer has been judged. */
export class TlsWire {
  readonly facts: TlsFacts
  readonly #socket: TLSSocket
  #error: Error | undefined

  constructor(socket: TLSSocket, facts: TlsFacts) {
    this.#socket = socket
    this.facts = facts
    socket.setNoDelay(true)
    on(socket, 'error', (error: Error) => {
      this.#error ??= error
    })
  }

  /** Delivers from now on; nothing was read before. */
  listen(listener: WireListener): void {
    on(this.#socket, 'data', (chunk: Buffer) => {
      listener.onBytes(chunk)
    })
    // No half-open tunnels: an end from the peer ends the connection.
    on(this.#socket, 'end', () => this.#socket.end())
    on(this.#socket, 'close', () => {
      const error = this.#error
      listener.onClosed(error === undefined ? undefined : tlsError(error, 'CONNECTION_LOST'))
    })
    if (this.#socket.destroyed) listener.onClosed(undefined)
  }

  write(bytes: Uint8Array, onWritten: () => void): void {
    this.#socket.write(bytes, (error) => {
      if (error === undefined || error === null) onWritten()
    })
  }

  end(): void {
    this.#socket.end()
  }

  /** Closes, and says why where the peer may know. Nothing was sent before. */
  dismiss(error: PosternError): void {
    dismiss(this.#socket, error)
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
