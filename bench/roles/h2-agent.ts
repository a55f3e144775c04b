import { readFileSync } from 'node:fs'
import { performServerHandshake, type Http2Session } from 'node:http2'
import { connect } from 'node:tls'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'

const CHUNK = Buffer.alloc(64 * 1024, 1)

interface Dial {
  readonly port: number
  readonly files: KeyFilePaths
  /** Raised windows, or Node's own. */
  readonly isRaised: boolean
}

/** The reference node:http2 with its roles reversed: the side that dials serves. */
async function dial({ port, files, isRaised }: Dial): Promise<void> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    ALPNProtocols: ['h2'],
    ca: readFileSync(files.bundleFile),
    cert: readFileSync(files.certificateFile),
    key: readFileSync(files.keyFile),
  })
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve).once('error', reject)
  })
  const options = {
    streamResetBurst: 1e6,
    streamResetRate: 1e6,
    settings: isRaised ? { initialWindowSize: 8 * 1024 * 1024, maxConcurrentStreams: 4096 } : {},
  }
  // The second argument is there since Node 22 and missing in its types.
  const handshake = performServerHandshake as unknown as (
    socket: unknown,
    options: object,
  ) => Http2Session
  const session = handshake(socket, options)
  if (isRaised)
    session.once('connect', () => {
      ;(session as Http2Session & { setLocalWindowSize(size: number): void }).setLocalWindowSize(
        64 * 1024 * 1024,
      )
    })
  session.on('error', () => undefined)
  session.on('stream', (stream: import('node:http2').ServerHttp2Stream, headers) => {
    stream.on('error', () => undefined)
    stream.respond({ ':status': 200 })
    if (headers[':path'] === '/echo') {
      stream.on('data', (chunk: Buffer) => {
        stream.end(chunk)
      })
      return
    }
    const fill = (): void => {
      while (!stream.destroyed && stream.write(CHUNK));
    }
    stream.on('drain', fill)
    fill()
  })
}

export const role = { dial }
