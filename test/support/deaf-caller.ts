import { refuseStreams } from '../../src/mux/session-owner.ts'
import { readFileSync } from 'node:fs'
import { connect, type TLSSocket } from 'node:tls'
import { systemRandom } from '../../src/base/random.ts'
import type { ErrorCode } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import type { MuxStream, StreamSink } from '../../src/mux/stream.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { RpcConnection, type PeerWire } from '../../src/tunnel/rpc-connection.ts'
import { encodeRoute, writeHead, type Kind } from '../../src/wire/open-head.ts'
import { CALLER } from './pki.ts'

const MIB = 1024 * 1024
const SETTINGS = {
  'tunnel.pingInterval': 3_600_000,
  'tunnel.silence': 7_200_000,
  'limits.windowBytesMax': 16 * MIB,
  'limits.sessionWindowBytesMax': 128 * MIB,
  'rpc.messageBytesMax': 4 * MIB,
} as const

/** A caller that asks and does not listen: it grants no credit for what comes, or does not read at all. */
export class DeafCaller {
  readonly #socket: TLSSocket
  readonly #connection: RpcConnection
  refused = 0
  reset = 0
  readonly #sink: StreamSink = {
    onAccept: () => undefined,
    onData: () => undefined,
    onEnd: () => undefined,
    onTrailer: () => undefined,
    onRefuse: () => this.refused++,
    onReset: () => this.reset++,
    onWritable: () => undefined,
    onStop: () => undefined,
  }

  private constructor(socket: TLSSocket, connection: RpcConnection) {
    this.#socket = socket
    this.#connection = connection
  }

  static async connect(port: number, files: KeyFilePaths): Promise<DeafCaller> {
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: 'localhost',
      ALPNProtocols: ['postern/1'],
      ca: readFileSync(files.bundleFile),
      cert: readFileSync(files.certificateFile),
      key: readFileSync(files.keyFile),
    })
    socket.on('error', () => undefined)
    const wire: PeerWire = {
      facts: {
        ...{ identity: CALLER, tlsVersion: '', cipher: '', group: '', address: '' },
        ...{ certificateNotBeforeMs: 0, certificateNotAfterMs: Date.now() + 3_600_000 },
        certificate: Buffer.alloc(0),
      },
      listen: (listener) => {
        socket.on('data', (chunk: Buffer) => {
          listener.onBytes(chunk)
        })
        socket.on('close', () => {
          listener.onClosed(undefined)
        })
      },
      write: (bytes, onWritten) =>
        socket.write(bytes, () => {
          onWritten()
        }),
      end: () => socket.end(),
      destroy: () => socket.destroy(),
    }
    const ambient = { clock: systemClock, random: systemRandom, logger: silentLogger }
    return await new Promise((resolve, reject) => {
      new RpcConnection(wire, 'dialer', processParts(SETTINGS, ambient), {
        onReady: (connection) => {
          resolve(new DeafCaller(socket, connection))
        },
        streams: refuseStreams(''),
        onClosed: (_connection, error) => {
          reject(error)
        },
      })
    })
  }

  /** Opens a stream, `isEnded` or to be written to, and consumes nothing of what comes. Undefined: no more may be opened. */
  ask(
    kind: Kind,
    cluster: string,
    name: string,
    { body = Buffer.alloc(0), hasCredit = false, isEnded = true, sink = this.#sink } = {},
  ): MuxStream | undefined {
    const { session } = this.#connection
    try {
      const stream = session.beginOpen(sink, isEnded, hasCredit)
      const route = encodeRoute(cluster, '', name)
      const metadata = Buffer.alloc(0)
      const head = { kind, dataType: 0, timeoutMs: 0, route, traceparent: '', metadata }
      writeHead(session.writer, head)
      session.writer.bytes(body)
      session.endOpen()
      return stream
    } catch {
      return undefined
    }
  }

  /** Opens a stream with these bytes behind the credit; resolves to the code that it is refused with, or undefined. */
  async openRaw(head: Buffer): Promise<ErrorCode | undefined> {
    const { session } = this.#connection
    return await new Promise((resolve) => {
      const answered = (): void => {
        resolve(undefined)
      }
      const sink = { ...this.#sink, onAccept: answered, onTrailer: answered, onReset: answered }
      const onRefuse: StreamSink['onRefuse'] = (_stream, code) => {
        resolve(code)
      }
      session.beginOpen({ ...sink, onRefuse }, true, false)
      session.writer.bytes(head)
      session.endOpen()
    })
  }

  /** Stops reading the socket. */
  mute(): void {
    this.#socket.pause()
  }

  close(): void {
    this.#socket.destroy()
  }
}
