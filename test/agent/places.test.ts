import { expect } from 'chai'
import { GatewayDirectory } from '../../src/agent/tunnels/gateway-directory.ts'
import { addressText, parseAddress } from '../../src/base/address.ts'

const at = (...texts: string[]) => texts.map((text) => parseAddress(text))
const told = (gateway: string, address: string, zone = '') => ({ gateway, address, zone }) as never

describe('the places of gateways', () => {
  it('are tried in turn', () => {
    const places = new GatewayDirectory(at('a.test:1', 'b.test:1'))
    const tried = [1, 2, 3, 4].map(() => addressText(places.next([])))
    expect(tried).to.deep.equal(['a.test:1', 'b.test:1', 'a.test:1', 'b.test:1'])
  })

  it('are chosen apart from gateways and zones that other tunnels are with', () => {
    const places = new GatewayDirectory(at('gw.cp.test:1'))
    places.tell([
      told('g-1', 'gw-1.cp.test:1', 'z-1'),
      told('g-2', 'gw-2.cp.test:1', 'z-1'),
      told('g-3', 'gw-3.cp.test:1', 'z-2'),
    ])
    places.answered(at('gw.cp.test:1')[0] as never, 'g-1', 'z-1')
    const held = { gateway: 'g-1', zone: 'z-1' }
    expect(addressText(places.next([held]))).to.equal('gw-3.cp.test:1')
    const both = [held, { gateway: 'g-3', zone: 'z-2' }]
    expect(addressText(places.next(both))).to.equal('gw-2.cp.test:1')
  })

  it('are counted by gateway, once each', () => {
    const places = new GatewayDirectory(at('gw.cp.test:1', 'old.cp.test:1'))
    expect(places.distinct).to.equal(2)
    for (const address of at('gw.cp.test:1', 'old.cp.test:1')) places.answered(address, 'g-1', '')
    expect(places.distinct).to.equal(1)
    places.tell([told('g-1', 'gw-1.cp.test:1'), told('g-2', 'gw-2.cp.test:1')])
    expect(places.distinct).to.equal(2)
  })

  it('count the records of a name until they turn out to be one gateway', () => {
    const places = new GatewayDirectory(at('gw.cp.test:1'))
    const [address] = at('gw.cp.test:1') as [never]
    places.resolved(address, 3)
    expect(places.distinct).to.equal(3)
    places.answered(address, 'g-1', '')
    places.repeated(address)
    places.resolved(address, 3)
    expect(places.distinct).to.equal(1)
    places.forgetRepeats()
    places.resolved(address, 3)
    expect(places.distinct).to.equal(3)
  })

  it('are not taken from a gateway that would send us elsewhere', () => {
    const places = new GatewayDirectory(at('gw.cp.test:1', '192.0.2.1:2000'))
    places.tell([
      told('g-2', 'gw-2.cp.test:1'),
      told('g-2', 'gw-2.cp.test:6443'),
      told('g-3', 'db.internal:5432'),
      told('g-4', '169.254.169.254:80'),
      told('g-5', 'sub.gw.cp.test:1'),
      told('g-6', 'test:1'),
      told('g-7', '192.0.2.1:3000'),
      told('g-7', '192.0.2.1:22'),
      told('g-7', 'gw.cp.test:22'),
      told('g-2', 'gw-2.cp.test:2000'),
      told('g-8', 'not an address'),
      told('g 9', 'gw-9.cp.test:1'),
    ])
    const known = places.all.map(({ address }) => addressText(address))
    expect(known).to.deep.equal([
      'gw.cp.test:1',
      '192.0.2.1:2000',
      'gw-2.cp.test:1',
      '192.0.2.1:3000',
      'gw-2.cp.test:2000',
    ])
  })

  it('believe of an address of the settings its own certificate alone', () => {
    const places = new GatewayDirectory(at('a.cp.test:1', 'b.cp.test:1'))
    const [a, b] = at('a.cp.test:1', 'b.cp.test:1') as [never, never]
    places.answered(a, 'g-a', '')
    places.answered(b, 'g-b', '')
    places.tell([told('g-a', 'a.cp.test:1'), told('g-a', 'b.cp.test:1')])
    expect(places.distinct).to.equal(2)
  })

  it('are bounded, however many a gateway names', () => {
    const places = new GatewayDirectory(at('gw.cp.test:1'))
    places.tell(
      Array.from({ length: 1000 }, (_, i) => told(`g-${String(i)}`, `g-${String(i)}.cp.test:1`)),
    )
    expect(places.all.length).to.equal(17)
  })

  it('keep what is known of an address that stays in the settings', () => {
    const places = new GatewayDirectory(at('a.cp.test:1', 'b.cp.test:1'))
    for (const address of places.all) places.answered(address.address, 'g-1', '')
    places.configure(at('b.cp.test:1', 'c.cp.test:1'))
    expect(places.all.map(({ gateway }) => gateway)).to.deep.equal(['g-1', undefined])
  })
})
