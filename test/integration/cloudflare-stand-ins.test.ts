import { expect } from 'chai'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import {
  bootstrapReturn,
  emptyReturn,
  refused,
  registered,
  RpcReader,
} from '../support/cloudflare/capnp.ts'
import {
  bootstrap,
  register,
  registrationIn,
  unregister,
} from '../support/cloudflare/capnp-write.ts'
import { ACCESS, FrontStandIn } from '../support/cloudflare/front.ts'

/** As the C++ implementation of Cap'n Proto reads them, and a real cloudflared took them. */
const VECTORS = {
  bootstrap: `000000000b000000 0000000001000100 0300000000000000 0000000002000100 0000000000000000
    0000000000000000 0000000000000200 0300000000000000 0100000017000000 0400000001000100
    0100000000000000 0000000000000000`,
  registered: `0000000011000000 0000000001000100 0300000000000000 0000000002000100 0100000000000000
    0000000000000000 0000000000000200 0400000000000100 0000000000000000 0000000001000100
    0100000000000000 0000000001000200 0100000000000000 0500000082000000 0900000032000000
    0011223344556677 8899aabbccddeeff 4c4f433031000000`,
  refused: `0000000010000000 0000000001000100 0300000000000000 0000000002000100 0100000000000000
    0000000000000000 0000000000000200 0400000000000100 0000000000000000 0000000001000100
    0000000000000000 0000000002000100 00f2052a01000000 0100000000000000 010000004a000000
    45445550434f4e4e 0000000000000000`,
  empty: `0000000008000000 0000000001000100 0300000000000000 0000000002000100 0200000000000000
    0000000000000000 0000000000000200 fcffffff00000000 0000000000000000`,
} as const
const hex = (text: string): string => text.replace(/\s/g, '')

describe('the stand-in for the edge', () => {
  it('answers by the bytes that were seen to be right', () => {
    expect(bootstrapReturn(0).toString('hex')).to.equal(hex(VECTORS.bootstrap))
    expect(registered(1, 'LOC01').toString('hex')).to.equal(hex(VECTORS.registered))
    expect(refused(1, 'EDUPCONN', true).toString('hex')).to.equal(hex(VECTORS.refused))
    expect(emptyReturn(2).toString('hex')).to.equal(hex(VECTORS.empty))
    expect(registrationIn(registered(1, 'lis01'))).to.deep.equal({ location: 'lis01' })
    const cause = 'Unauthorized: Failed to get tunnel'
    expect(registrationIn(refused(1, cause, false))).to.deep.equal({ cause })
    expect(registrationIn(emptyReturn(1))).to.equal(undefined)
  })

  it('reads who registers, in pieces of any size', () => {
    const token = { a: 'account', s: Buffer.from('a secret').toString('base64') }
    const bytes = Buffer.concat([bootstrap(0), register(1, token, 3, '2026.8.2'), unregister(2)])
    for (const size of [1, 7, 1000]) {
      const reader = new RpcReader()
      const found = []
      for (let i = 0; i < bytes.length; i += size)
        found.push(...reader.add(bytes.subarray(i, i + size)))
      expect(found).to.deep.equal([
        { kind: 'bootstrap', question: 0 },
        {
          ...{ kind: 'call', question: 1, method: 0 },
          register: { connIndex: 3, accountTag: 'account', secret: token.s, version: '2026.8.2' },
        },
        { kind: 'call', question: 2, method: 1 },
      ])
    }
  })
})

describe('the stand-in for the front', () => {
  let folder: string
  let front: FrontStandIn
  let target: Server
  const received: Buffer[] = []
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-front-'))
    front = await FrontStandIn.start(folder)
    received.length = 0
    target = createServer((socket) => {
      socket.on('data', (chunk: Buffer) => received.push(chunk))
      socket.on('error', () => undefined)
    }).listen(0, '127.0.0.1')
    await once(target, 'listening')
    front.routes.set(
      'localhost',
      front.toTcp(() => (target.address() as AddressInfo).port),
    )
  })
  afterEach(() => {
    target.close()
    front.stop()
    rmSync(folder, { recursive: true })
  })

  const dial = (headers: Record<string, string>, host = 'localhost'): WebSocket =>
    new WebSocket(`wss://localhost:${String(front.port)}/`, {
      ca: readFileSync(front.caFile),
      headers: { host: `${host}:${String(front.port)}`, ...headers },
      perMessageDeflate: false,
    })
  const statusOf = async (client: WebSocket): Promise<number | undefined> => {
    client.on('error', () => undefined)
    const [, response] = (await once(client, 'unexpected-response')) as [
      unknown,
      { statusCode?: number },
    ]
    client.terminate()
    return response.statusCode
  }
  const access = {
    'cf-access-client-id': ACCESS.id,
    'cf-access-client-secret': ACCESS.secret,
  }

  it('asks for a service token, and for a host that it knows', async () => {
    expect(await statusOf(dial({}))).to.equal(302)
    expect(await statusOf(dial({ ...access, 'cf-access-client-secret': 'x' }))).to.equal(403)
    expect(await statusOf(dial(access, 'other.localhost'))).to.equal(530)
    expect(front.faults).to.deep.equal(['no such host: other.localhost'])
  })

  it('cuts what a connector would cut, and notes it', async () => {
    const client = dial(access)
    await once(client, 'open')
    client.send(Buffer.alloc(16_384))
    client.send(Buffer.alloc(16_385))
    client.send('text')
    while (Buffer.concat(received).length < 2 * 16_384 || front.faults.length < 2)
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(front.faults).to.deep.equal(['a message of 16385 bytes', 'a text message'])
    client.terminate()
  })
})
