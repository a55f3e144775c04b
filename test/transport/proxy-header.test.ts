import { expect } from 'chai'
import { readProxyHeader } from '../../src/transport/proxy-header.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { proxyHeader } from '../support/proxies.ts'

const whole = (bytes: Buffer) => readProxyHeader(Buffer.concat([bytes, Buffer.from('more')]))

describe('the header of the PROXY protocol', () => {
  it('tells a source over IPv4 and IPv6, and how long it is itself', () => {
    const four = proxyHeader({ address: '192.0.2.9', port: 4711 })
    const four_ = { address: '192.0.2.9', port: 4711 }
    expect(whole(four)).to.deep.equal({ is: 'whole', bytes: 28, source: four_ })
    const six = proxyHeader({ address: '2001:db8:0:0:0:0:0:1', port: 1 })
    expect(whole(six)).to.deep.equal({
      ...{ is: 'whole', bytes: 52 },
      source: { address: '2001:db8:0:0:0:0:0:1', port: 1 },
    })
    const more = proxyHeader({ address: '192.0.2.9', port: 4711 }, Buffer.alloc(300))
    expect(whole(more)).to.deep.equal({ is: 'whole', bytes: 328, source: four_ })
  })

  it('is the own word of a proxy where it looks at our health, or knows no more', () => {
    const none = { is: 'whole', bytes: 16, source: undefined }
    expect(whole(proxyHeader(undefined))).to.deep.equal(none)
    const unknown = proxyHeader(undefined)
    unknown[12] = 0x21
    expect(whole(unknown)).to.deep.equal(none)
  })

  it('is short wherever it is cut', () => {
    const header = proxyHeader({ address: '192.0.2.9', port: 4711 }, Buffer.alloc(5))
    for (let at = 0; at < header.length; at++)
      expect(readProxyHeader(header.subarray(0, at)), String(at)).to.deep.equal({ is: 'short' })
  })

  const header = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = proxyHeader({ address: '192.0.2.9', port: 4711 })
    change(bytes)
    return bytes
  }
  for (const [what, bytes, reason] of [
    ['version 1', Buffer.from('PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\n'), 'version 2'],
    ['a TLS hello', Buffer.from([22, 3, 1, 2, 0, 1]), 'version 2'],
    ['another version', header((all) => (all[12] = 0x11)), 'version or command'],
    ['another command', header((all) => (all[12] = 0x22)), 'version or command'],
    ['a datagram', header((all) => (all[13] = 0x12)), 'no TCP'],
    ['a unix socket', header((all) => (all[13] = 0x31)), 'no TCP'],
    ['one without room for its addresses', header((all) => (all[15] = 11)), 'too short'],
    ['one that announces over 4096 bytes', header((all) => (all[14] = 0x10)), 'over 4096'],
  ] as const)
    it(`is not ${what}`, () => {
      const judged = readProxyHeader(bytes)
      expect(judged.is).to.equal('refused')
      expect((judged as { reason: string }).reason).to.include(reason)
    })

  it('survives random bytes behind its signature', () => {
    const random = new SeededRandom(1)
    for (let at = 0; at < 5000; at++) {
      const bytes = Buffer.concat([
        proxyHeader(undefined).subarray(0, 12),
        Buffer.from(random.hex(random.integer(60)), 'hex'),
      ])
      expect(['short', 'refused', 'whole']).to.include(readProxyHeader(bytes).is)
    }
  })
})
