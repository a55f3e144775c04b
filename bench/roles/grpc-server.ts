import { readFileSync } from 'node:fs'
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'

export const ECHO = {
  echo: {
    path: '/bench.Bench/Echo',
    requestStream: false,
    responseStream: false,
    requestSerialize: (value: Buffer) => value,
    requestDeserialize: (value: Buffer) => value,
    responseSerialize: (value: Buffer) => value,
    responseDeserialize: (value: Buffer) => value,
  },
} as const

/** The reference @grpc/grpc-js, over the same certificates. */
async function start({ files }: { files: KeyFilePaths }): Promise<number> {
  const server = new Server()
  server.addService(ECHO, {
    echo: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      done(null, call.request)
    },
  })
  const pair = {
    cert_chain: readFileSync(files.certificateFile),
    private_key: readFileSync(files.keyFile),
  }
  const credentials = ServerCredentials.createSsl(readFileSync(files.bundleFile), [pair], true)
  return await new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
      if (error === null) resolve(port)
      else reject(error)
    })
  })
}

export const role = { start }
