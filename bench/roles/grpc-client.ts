import { readFileSync } from 'node:fs'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { measureCalls, type CallRun } from '../measure.ts'
import { ECHO } from './grpc-server.ts'

const BODY = Buffer.alloc(100, 7)

interface Run {
  readonly port: number
  readonly files: KeyFilePaths
  readonly inFlight: number
  readonly seconds: number
}

async function unary({ port, files, inFlight, seconds }: Run): Promise<CallRun> {
  const secure = credentials.createSsl(
    readFileSync(files.bundleFile),
    readFileSync(files.keyFile),
    readFileSync(files.certificateFile),
  )
  const client = new Client(`127.0.0.1:${String(port)}`, secure, {
    'grpc.ssl_target_name_override': 'localhost',
  })
  const { path, requestSerialize, responseDeserialize } = ECHO.echo
  const call = (): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const metadata = new Metadata()
      metadata.set('tenant', 'bench')
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        BODY,
        metadata,
        { deadline: Date.now() + 10_000 },
        (error, value) => {
          if (error === null && value !== undefined) resolve(value)
          else reject(error ?? new Error('no value'))
        },
      )
    })
  try {
    return await measureCalls(call, inFlight, seconds)
  } finally {
    client.close()
  }
}

export const role = { unary }
