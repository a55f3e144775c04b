import { readFileSync } from 'node:fs'
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { measureBytes, measureCalls, sleep, type CallRun } from '../measure.ts'

const BODY = Buffer.alloc(100, 7)
let session: ClientHttp2Session | undefined

async function listen({
  files,
  isRaised,
}: {
  files: KeyFilePaths
  isRaised: boolean
}): Promise<number> {
  const server = createServer(
    {
      cert: readFileSync(files.certificateFile),
      key: readFileSync(files.keyFile),
      ca: readFileSync(files.bundleFile),
      requestCert: true,
      ALPNProtocols: ['h2'],
    },
    (socket) => {
      const settings = isRaised ? { initialWindowSize: 8 * 1024 * 1024 } : {}
      const opened = connect('https://localhost', {
        createConnection: () => socket,
        settings,
        peerMaxConcurrentStreams: 4096,
      })
      if (isRaised)
        opened.once('connect', () => {
          opened.setLocalWindowSize(64 * 1024 * 1024)
        })
      opened.on('error', () => undefined)
      session = opened
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function request(headers: Record<string, string>): Promise<ClientHttp2Stream> {
  while (session === undefined) await sleep(1)
  return session.request(headers)
}

async function unary({
  inFlight,
  seconds,
}: {
  inFlight: number
  seconds: number
}): Promise<CallRun> {
  while (session === undefined) await sleep(1)
  const open = session
  const call = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const stream = open.request({
        ':method': 'POST',
        ':path': '/echo',
        tenant: 'bench',
        'grpc-timeout': '10S',
      })
      stream.on('data', () => undefined)
      stream.once('end', resolve)
      stream.once('error', reject)
      stream.end(BODY)
    })
  return await measureCalls(call, inFlight, seconds)
}

async function bulk({ seconds }: { seconds: number }): Promise<number> {
  const stream = await request({ ':path': '/down' })
  stream.on('error', () => undefined)
  return await measureBytes(async (took) => {
    const untilMs = performance.now() + seconds * 1000
    await new Promise<void>((resolve) => {
      stream.on('data', (chunk: Buffer) => {
        took(chunk.length)
        if (performance.now() < untilMs) return
        stream.removeAllListeners('data')
        stream.close()
        resolve()
      })
    })
  })
}

export const role = { listen, unary, bulk }
