import { expect } from 'chai'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { DEFAULT_HANDSHAKE_LIMITS, HandshakeGate } from '../../src/transport/handshake-gate.ts'
import { networkOf } from '../../src/transport/peer-address.ts'
import { NetworkBudget } from '../../src/transport/network-budget.ts'
import { FakeClock } from '../support/fake-clock.ts'

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string
  readonly remotePort: number
  bytesRead = 0
  isDestroyed = false

  constructor(remoteAddress: string, remotePort: number) {
    super()
    this.remoteAddress = remoteAddress
    this.remotePort = remotePort
  }

  get asSocket(): Socket {
    return this as unknown as Socket
  }

  destroy(): void {
    this.isDestroyed = true
    this.emit('close')
  }
}

describe('HandshakeGate', () => {
  let clock: FakeClock
  let gate: HandshakeGate
  let begun: FakeSocket[]
  let refused: string[]
  let ports = 0

  beforeEach(() => {
    clock = new FakeClock()
    begun = []
    refused = []
    gate = new HandshakeGate(DEFAULT_HANDSHAKE_LIMITS, {
      clock,
      budget: new NetworkBudget(clock),
      begin: (socket) => begun.push(socket as unknown as FakeSocket),
      onRefused: (address) => refused.push(address),
    })
  })

  const enter = (address: string, hasSpoken = true): FakeSocket => {
    const socket = new FakeSocket(address, 1000 + ++ports)
    gate.enter(socket.asSocket)
    if (hasSpoken) socket.emit('readable')
    return socket
  }

  it('lets a flood from many addresses push out itself, never an honest peer', () => {
    const honest = enter('192.0.2.1')
    const flood = Array.from({ length: 20_000 }, (_, i) => enter(`203.0.113.${String(i % 99)}`))
    expect(honest.isDestroyed).to.equal(false)
    expect(refused.length).to.equal(20_001 - DEFAULT_HANDSHAKE_LIMITS.pendingMax)
    expect(flood.find(({ isDestroyed }) => isDestroyed)).to.equal(flood[0])
    expect(gate.wasEvicted(flood[0]!.asSocket)).to.equal(true)
    expect(gate.wasEvicted(flood[0]!.asSocket)).to.equal(false)
    expect(gate.wasEvicted(honest.asSocket)).to.equal(false)
  })

  it('begins few handshakes of a network that none has succeeded from, and more with each success', () => {
    for (let i = 0; i < 300; i++) enter('203.0.113.1')
    expect(begun).to.have.length(4)
    for (let i = 0; i < 10; i++) gate.passed(begun[i]!.asSocket)
    expect(begun).to.have.length(10 + 14)
    const other = enter('203.0.113.2')
    expect(begun.at(-1)).to.equal(other)
  })

  it('gives no turn to who says nothing, so that half-open ones keep nobody out', () => {
    for (let i = 0; i < 300; i++) enter('203.0.113.1', false)
    const honest = enter('203.0.113.1')
    expect(begun).to.deep.equal([honest])
  })

  it('passes a turn on that is not used, while others of the network wait', () => {
    for (let i = 0; i < 5; i++) enter('203.0.113.1')
    clock.advance(1100)
    expect(begun).to.have.length(5)
    expect(begun[0]!.isDestroyed).to.equal(true)
    expect(begun[4]!.isDestroyed).to.equal(false)
  })

  it('makes a network pay for what its failed handshakes took: 5 % of a minute at most', () => {
    const costMs = 410
    let workedMs = 0
    let honest = 0
    for (let ms = 0; ms < 60_000; ms += 10) {
      for (let i = 0; i < 4; i++) if (gate.admits('203.0.113.1')) enter('203.0.113.1')
      for (const socket of begun.splice(0)) {
        if (socket.isDestroyed) continue
        clock.workedMs += costMs
        workedMs += costMs
        gate.failed(socket.asSocket)
        socket.destroy()
      }
      if (gate.admits('198.51.100.1')) honest++
      clock.advance(10)
    }
    expect(workedMs).to.be.within(costMs, 3000)
    expect(honest).to.equal(6000)
  })

  it('makes a network pay for knocking while it is overdrawn, and lets it in when it has been quiet', () => {
    const address = '203.0.113.1'
    let handshakes = 0
    let knocks = 0
    let held = 0
    for (let ms = 0; ms < 60_000; ms++) {
      clock.advance(1)
      if (!gate.admits(address)) {
        knocks++
        continue
      }
      const socket = enter(address)
      if (begun.pop() === undefined) {
        held++
        continue
      }
      clock.workedMs += 10
      gate.failed(socket.asSocket)
      socket.destroy()
      handshakes++
    }
    // A thousand knocks a second at 25 µs each are most of what it gets: 36 ms.
    expect(10 * handshakes + 0.025 * knocks).to.be.below(3000)
    expect(held).to.be.within(100, 4000)
    clock.advance(25_000)
    enter(address)
    expect(begun).to.have.length(1)
  })

  it('closes the others of a network at once when one has used up its share', () => {
    for (let i = 0; i < 40; i++) enter('203.0.113.1')
    const stays = enter('203.0.113.2')
    clock.workedMs += 500
    gate.failed(begun[0]!.asSocket)
    expect(refused).to.have.length(39)
    expect(stays.isDestroyed).to.equal(false)
    begun.length = 0
    enter('203.0.113.1')
    expect(begun).to.deep.equal([])
  })

  it('makes a network pay for a handshake whose end it does not wait for', () => {
    for (const end of ['looked at', 'reset']) {
      const socket = enter(`203.0.113.${String(end.length)}`)
      // OpenSSL verified what came; the connection ends before TLS tells of a failure.
      socket.bytesRead = 9000
      clock.workedMs += 500
      if (end === 'looked at') clock.advance(5)
      socket.destroy()
      begun.length = 0
      enter(`203.0.113.${String(end.length)}`)
      expect(begun, end).to.deep.equal([])
    }
  })

  it('gives back to who is authenticated what was charged while its handshake went on', () => {
    const socket = enter('203.0.113.1')
    socket.bytesRead = 3000
    clock.workedMs += 300
    clock.advance(5)
    gate.passed(socket.asSocket)
    const other = enter('203.0.113.1')
    other.bytesRead = 3000
    clock.workedMs += 300
    clock.advance(5)
    expect(other.isDestroyed).to.equal(false)
  })

  it('holds who is overdrawn for a while, unread, up to a number, and closes it', () => {
    const knocker = enter('203.0.113.1')
    clock.workedMs += 600
    gate.failed(knocker.asSocket)
    let held: FakeSocket[] = []
    while (gate.admits('203.0.113.1')) held.push(enter('203.0.113.1'))
    expect(held).to.have.length(128)
    clock.advance(1900)
    expect(held.some(({ isDestroyed }) => isDestroyed)).to.equal(false)
    held.shift()?.destroy()
    expect(gate.admits('203.0.113.1')).to.equal(true)
    clock.advance(200)
    expect(held.every(({ isDestroyed }) => isDestroyed)).to.equal(true)
    held = [enter('203.0.113.1')]
    gate.close()
    expect(held[0]!.isDestroyed).to.equal(true)
  })

  it('charges nobody for what was done before the turn of the loop', () => {
    const socket = enter('203.0.113.1')
    clock.workedMs += 5000
    clock.advance(5)
    clock.workedMs += 1
    gate.failed(socket.asSocket)
    expect(gate.admits('203.0.113.1')).to.equal(true)
  })

  it('takes nothing of who is authenticated', () => {
    for (let i = 0; i < 5000; i++) gate.passed(enter('203.0.113.1').asSocket)
    expect(gate.admits('203.0.113.1')).to.equal(true)
  })

  it('closes who sends more than is taken before authentication within a turn', () => {
    const socket = enter('203.0.113.1')
    socket.bytesRead = DEFAULT_HANDSHAKE_LIMITS.bytesMax + 1
    clock.advance(2)
    expect(socket.isDestroyed).to.equal(true)
  })

  it('counts an IPv6 site as one, and an IPv4 address as itself however it is written', () => {
    expect(networkOf('2001:db8:1:2::5')).to.equal(networkOf('2001:db8:1:2:ffff::9'))
    expect(networkOf('2001:db8:1:2::5')).not.to.equal(networkOf('2001:db8:1:3::5'))
    expect(networkOf('::ffff:192.0.2.1')).to.equal(networkOf('192.0.2.1'))
    expect(networkOf('fe80::1%eth0')).to.equal(networkOf('fe80::2'))
  })
})
