import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { systemClock } from '../../src/base/system-clock.ts'
import { dialFront, readServiceToken } from '../../src/carrier/carrier.ts'
import { DIRECT } from '../../src/transport/egress.ts'
import { measureBytes, measureCalls, sleep, type CallRun } from '../measure.ts'
import type { FrontAt } from './cloudflare.ts'

const CHUNK = Buffer.alloc(64 * 1024, 1)
const PING = Buffer.alloc(100, 7)
let stream: Duplex

/** Takes the connection that a connector brings. */
async function listen(): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined)
    stream = socket
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Dials a front, with nothing of ours in what goes through. */
async function dial({ port, caFile, tokenFile }: FrontAt): Promise<void> {
  stream = await dialFront({
    address: { host: 'localhost', port },
    caPem: readFileSync(caFile, 'utf8'),
    token: readServiceToken(tokenFile),
    egress: DIRECT,
    clock: systemClock,
    signal: new AbortController().signal,
  })
  stream.on('error', () => undefined)
}

/** Sends as much as goes. */
async function pour({ seconds }: { seconds: number }): Promise<void> {
  let isOver = false
  const fill = (): void => {
    while (!isOver && stream.write(CHUNK));
  }
  stream.on('drain', fill)
  fill()
  await sleep(seconds * 1000)
  isOver = true
  stream.off('drain', fill)
}

/** Counts what comes, and takes what is still under way. In MB/s. */
async function count({ seconds }: { seconds: number }): Promise<number> {
  const rate = await measureBytes(async (took) => {
    const add = (chunk: Buffer): void => {
      took(chunk.length)
    }
    stream.on('data', add)
    await sleep(seconds * 1000)
    stream.off('data', add)
  })
  stream.resume()
  await sleep(500)
  return rate
}

/** Sends back what comes, from now on. */
async function echo(): Promise<void> {
  stream.on('data', (chunk: Buffer) => stream.write(chunk))
  await Promise.resolve()
}

async function ping({ seconds }: { seconds: number }): Promise<CallRun> {
  return await measureCalls(
    async () => {
      stream.write(PING)
      for (let got = 0; got < PING.length;) {
        const [chunk] = (await once(stream, 'data')) as [Buffer]
        got += chunk.length
      }
    },
    1,
    seconds,
  )
}

export const role = { listen, dial, pour, count, echo, ping }
