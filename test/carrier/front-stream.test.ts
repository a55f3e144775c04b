import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { systemClock } from '../../src/base/system-clock.ts'
import { dialFront } from '../../src/carrier/carrier.ts'
import { DIRECT } from '../../src/transport/egress.ts'
import { acceptOver } from '../../src/transport/tls-over.ts'
import { FrontStandIn, type Upgrade } from '../support/cloudflare/front.ts'
import { rejection } from '../support/code-of.ts'
import { eventually } from '../support/eventually.ts'
import { FakeClock } from '../support/fake-clock.ts'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** The answer that opens a WebSocket. */
function opening(key: unknown): string {
  const accept = createHash('sha1')
    .update(`${String(key)}${GUID}`)
    .digest('base64')
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
}

/** One binary message of less than 126 bytes, unmasked, as a server sends it. */
function message(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x82, text.length]), Buffer.from(text)])
}

describe('a stream over a WebSocket', () => {
  let folder: string
  let front: FrontStandIn
  let far: Duplex
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-front-'))
    front = await FrontStandIn.start(folder)
    front.access = undefined
  })
  afterEach(() => {
    front.stop()
    rmSync(folder, { recursive: true })
  })

  const dial = async (upgrade: Upgrade, clock = systemClock): Promise<Duplex> => {
    front.routes.set('localhost', (...args) => {
      far = args[1]
      upgrade(...args)
    })
    return await dialFront({
      address: { host: 'localhost', port: front.port },
      caPem: readFileSync(front.caFile, 'utf8'),
      token: undefined,
      egress: DIRECT,
      clock,
      signal: new AbortController().signal,
    })
  }
  const textOf = async (stream: Duplex): Promise<string> => {
    let text = ''
    for await (const chunk of stream) text += String(chunk)
    return text
  }

  it('has what came together with the answer', async () => {
    const stream = await dial(({ headers }, socket) => {
      const first = opening(headers['sec-websocket-key'])
      socket.write(Buffer.concat([Buffer.from(first), message('hello')]))
    })
    // Whoever dialled may be busy for a while.
    await new Promise((resolve) => setImmediate(resolve))
    far.end(Buffer.from([0x88, 0x00]))
    expect(await textOf(stream)).to.equal('hello')
  })

  it('has the last words of an end that hung up, however late they are read', async () => {
    const stream = await dial(({ headers }, socket) => {
      socket.write(opening(headers['sec-websocket-key']))
      for (let i = 0; i < 50; i++) socket.write(message('last words; '))
      socket.end(Buffer.from([0x88, 0x00]))
    })
    await eventually(() => stream.readableLength === 600, 'it is all there')
    far.destroy()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect((await textOf(stream)).length).to.equal(600)
  })

  it('ends when nobody answers its pings, and not while somebody does', async () => {
    const clock = new FakeClock()
    const stream = await dial(({ headers }, socket) => {
      socket.write(opening(headers['sec-websocket-key']))
    }, clock)
    let failure: Error | undefined
    stream.on('error', (error) => {
      failure = error
    })
    for (let i = 0; i < 10; i++) {
      clock.advance(25_000)
      far.write(Buffer.from([0x8a, 0x00]))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(stream.destroyed).to.equal(false)
    for (let i = 0; i < 4; i++) clock.advance(25_000)
    await eventually(() => failure, 'it has ended')
    expect(String(failure)).to.include('CONNECTION_LOST')
  })

  it('that has ended already, or that no credential is for, is not accepted, and stays open for nobody', async () => {
    const open: Upgrade = ({ headers }, socket) => {
      socket.write(opening(headers['sec-websocket-key']))
    }
    const options = {
      credential: { certificatePem: '', keyPem: '', bundlePem: 'none' } as never,
      expected: { trustDomain: 't', roles: ['agent'] },
      address: 'front:443',
      timeoutMs: 1000,
    } as const
    const stream = await dial(open)
    await rejection(acceptOver(stream, options), 'CERTIFICATE_UNUSABLE')
    expect(stream.destroyed).to.equal(true)
    await rejection(acceptOver(stream, options), 'CONNECTION_LOST')
  })
})
