import { expect } from 'chai'
import type { LookupAddress } from 'node:dns'
import { createServer, connect, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { rotatedLookup, type RotatedLookup } from '../../src/transport/rotated-lookup.ts'

const RECORDS: readonly LookupAddress[] = [
  { address: '192.0.2.1', family: 4 },
  { address: '192.0.2.2', family: 4 },
  { address: '192.0.2.3', family: 4 },
  { address: '2001:db8::1', family: 6 },
]

function resolverOf(records: readonly LookupAddress[]): NonNullable<RotatedLookup['resolve']> {
  const resolve = (_host: string, _options: object, done: (...args: unknown[]) => void): void => {
    done(null, records)
  }
  return resolve as never
}

describe('the addresses of a name', () => {
  function ordered(fraction: number): Promise<string[]> {
    return new Promise((resolve) => {
      const look = rotatedLookup({ fraction: () => fraction, resolve: resolverOf(RECORDS) })
      look('gw.test', { all: true }, (_error, found) => {
        resolve((found as LookupAddress[]).map(({ address }) => address))
      })
    })
  }

  it('begin anywhere, and take turns of IPv6 and IPv4', async () => {
    expect(await ordered(0)).to.deep.equal(['2001:db8::1', '192.0.2.1', '192.0.2.2', '192.0.2.3'])
    expect(await ordered(0.5)).to.deep.equal(['2001:db8::1', '192.0.2.2', '192.0.2.3', '192.0.2.1'])
    expect((await ordered(0.99))[1]).to.equal('192.0.2.3')
  })

  it('are counted by the family that has more', () => {
    let records = 0
    const onResolved = (count: number): void => {
      records = count
    }
    const look = rotatedLookup({ fraction: () => 0, onResolved, resolve: resolverOf(RECORDS) })
    look('gw.test', { all: true }, () => undefined)
    expect(records).to.equal(3)
  })

  it('of metadata services are left out, and nothing is dialled where no other is left', () => {
    const looked = (...addresses: string[]): unknown => {
      const records = addresses.map((address) => ({ address, family: 4 }))
      let answer: unknown
      const look = rotatedLookup({ fraction: () => 0, resolve: resolverOf(records) })
      look('gw.test', { all: true }, (error, found) => {
        answer = error === null ? found : (error as { code?: string }).code
      })
      return answer
    }
    const good = { address: '192.0.2.1', family: 4 }
    expect(looked('169.254.169.254', '192.0.2.1')).to.deep.equal([good])
    expect(looked('169.254.169.254')).to.equal('TARGET_FORBIDDEN')
  })

  it('are tried one after another until one takes the connection', async () => {
    const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    // Nothing listens at the first two, which are ours as well.
    const records = ['127.0.0.2', '127.0.0.3', '127.0.0.1'].map((address) => ({
      address,
      family: 4,
    }))
    const lookup = rotatedLookup({ fraction: () => 0, resolve: resolverOf(records) })
    const socket = connect({ host: 'gw.test', port, lookup, autoSelectFamily: true })
    await once(socket, 'connect')
    expect(socket.remoteAddress).to.equal('127.0.0.1')
    socket.destroy()
    server.close()
  })

  it('that cannot be resolved are an error', () => {
    const resolve = ((_host: string, _options: object, done: (error: Error) => void) => {
      done(new Error('ENOTFOUND'))
    }) as never
    let failure: Error | null = null
    rotatedLookup({ fraction: () => 0, resolve })('gw.test', { all: true }, (error) => {
      failure = error
    })
    expect(failure).to.be.an('error')
  })
})
