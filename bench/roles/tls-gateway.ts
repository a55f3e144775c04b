import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { measureBytes, measureCalls, type CallRun } from '../measure.ts'

const BODY = Buffer.alloc(100, 7)
const accepted: TLSSocket[] = []
let onSocket: ((socket: TLSSocket) => void) | undefined

async function listen({ files }: { files: KeyFilePaths }): Promise<number> {
  const server = createServer(
    {
      cert: readFileSync(files.certificateFile),
      key: readFileSync(files.keyFile),
      ca: readFileSync(files.bundleFile),
      requestCert: true,
      noDelay: true,
    },
    (socket) => {
      socket.on('error', () => undefined)
      if (onSocket === undefined) accepted.push(socket)
      else onSocket(socket)
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function next(): Promise<TLSSocket> {
  const waiting = accepted.shift()
  if (waiting !== undefined) return waiting
  return await new Promise((resolve) => {
    onSocket = (socket) => {
      onSocket = undefined
      resolve(socket)
    }
  })
}

async function pingPong({ seconds }: { seconds: number }): Promise<CallRun> {
  const socket = await next()
  let answered: () => void = () => undefined
  let got = 0
  socket.on('data', (chunk) => {
    got += chunk.length
    if (got < BODY.length) return
    got = 0
    answered()
  })
  const call = (): Promise<void> =>
    new Promise((resolve) => {
      answered = resolve
      socket.write(BODY)
    })
  const run = await measureCalls(call, 1, seconds)
  socket.destroy()
  return run
}

async function bulk({ seconds }: { seconds: number }): Promise<number> {
  const socket = await next()
  return await measureBytes(async (took) => {
    const untilMs = performance.now() + seconds * 1000
    await new Promise<void>((resolve) => {
      socket.on('data', (chunk) => {
        took(chunk.length)
        if (performance.now() > untilMs) {
          socket.destroy()
          resolve()
        }
      })
    })
  })
}

export const role = { listen, pingPong, bulk }
