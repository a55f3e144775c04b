import { expect } from 'chai'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { ConnectionShares } from '../../src/transport/connection-shares.ts'

describe('ConnectionShares', () => {
  class FakeSocket extends EventEmitter {
    readonly remoteAddress: string
    destroyed = false
    constructor(remoteAddress: string) {
      super()
      this.remoteAddress = remoteAddress
    }
    destroy(): void {
      this.destroyed = true
      this.emit('close')
    }
  }
  function enter(shares: ConnectionShares, address: string, count: number): FakeSocket[] {
    return Array.from({ length: count }, () => {
      const socket = new FakeSocket(address)
      shares.enter(socket as unknown as Socket)
      return socket
    })
  }
  const openOf = (sockets: readonly FakeSocket[]): number =>
    sockets.filter(({ destroyed }) => !destroyed).length

  it('takes from a network with too many the oldest', () => {
    const shares = new ConnectionShares({ max: 100, perNetworkMax: 4 })
    const sockets = enter(shares, '10.0.0.1', 6)
    expect(sockets.map(({ destroyed }) => destroyed)).to.deep.equal([
      true,
      true,
      false,
      false,
      false,
      false,
    ])
    // IPv6 counts by /64.
    expect(
      openOf([...enter(shares, '2001:db8::1', 3), ...enter(shares, '2001:db8::2', 3)]),
    ).to.equal(4)
  })

  it('lets no crowd keep out one that is alone', () => {
    const shares = new ConnectionShares({ max: 10, perNetworkMax: 8 })
    const crowd = [...enter(shares, '10.0.0.1', 8), ...enter(shares, '10.0.0.2', 2)]
    const honest = enter(shares, '10.0.0.3', 1)
    expect([openOf(crowd), openOf(honest)]).to.deep.equal([9, 1])
    enter(shares, '10.0.0.1', 50)
    expect(openOf(honest)).to.equal(1)
    for (const socket of crowd) socket.destroy()
    expect(openOf(enter(shares, '10.0.0.4', 5))).to.equal(5)
  })
})
