import { readFileSync } from 'node:fs'
import { connect, type ClientHttp2Session } from 'node:http2'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { measureCalls, type CallRun } from '../measure.ts'

const BODY = Buffer.concat([Buffer.from([0, 0, 0, 0, 100]), Buffer.alloc(100, 7)])

interface Run {
  readonly port: number
  readonly files: KeyFilePaths
  readonly inFlight: number
  readonly seconds: number
}

/** Unary calls by gRPC with as little of a client as there can be, so that the server is what is measured. */
async function unary({ port, files, inFlight, seconds }: Run): Promise<CallRun> {
  const session = connect(`https://localhost:${String(port)}`, {
    ca: readFileSync(files.bundleFile),
    cert: readFileSync(files.certificateFile),
    key: readFileSync(files.keyFile),
  })
  try {
    await new Promise<void>((resolve, reject) => {
      session.once('remoteSettings', () => {
        resolve()
      })
      session.once('error', reject)
    })
    return await measureCalls(() => call(session), inFlight, seconds)
  } finally {
    session.destroy()
  }
}

function call(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': '/bench.Bench/Echo', 'content-type': 'application/grpc' },
      ...{ te: 'trailers', 'postern-cluster': 'bench', tenant: 'bench', 'grpc-timeout': '10S' },
    })
    let length = 0
    let status: unknown
    stream.on('response', (headers) => (status = headers['grpc-status']))
    stream.on('trailers', (headers) => (status = headers['grpc-status']))
    stream.on('data', (part: Buffer) => (length += part.length))
    stream.once('error', reject)
    stream.once('close', () => {
      if (status === '0' && length === BODY.length) resolve()
      else reject(new Error(`status ${String(status)}, ${String(length)} bytes`))
    })
    stream.end(BODY)
  })
}

export const role = { unary }
