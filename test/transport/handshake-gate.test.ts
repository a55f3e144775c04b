import { expect } from 'chai'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import {
  DEFAULT_HANDSHAKE_LIMITS,
  HandshakeGate,
  networkOf,
} from '../../src/transport/handshake-gate.ts'
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

  destroy(): void {
    this.isDestroyed = true
    this.emit('close')
  }
}

describe('HandshakeGate', () => {
  it('lets a flood from many addresses push out itself, never an honest peer', () => {
    const refused: string[] = []
    const gate = new HandshakeGate(DEFAULT_HANDSHAKE_LIMITS, new FakeClock(), (address) => {
      refused.push(address)
    })
    const enter = (address: string, port: number): FakeSocket => {
      const socket = new FakeSocket(address, port)
      gate.enter(socket as unknown as Socket)
      return socket
    }
    const honest = enter('192.0.2.1', 1)
    for (let i = 0; i < 20_000; i++) enter(`203.0.113.${String(i % 9)}`, 1000 + i)
    expect(honest.isDestroyed).to.equal(false)
    expect(gate.pendingCount).to.equal(DEFAULT_HANDSHAKE_LIMITS.pendingMax)
    expect(refused.length).to.equal(20_001 - DEFAULT_HANDSHAKE_LIMITS.pendingMax)
    expect(gate.wasEvicted(refused[0]!)).to.equal(true)
    expect(gate.wasEvicted(refused[0]!)).to.equal(false)
    expect(gate.wasEvicted('192.0.2.1:1')).to.equal(false)
  })

  it('counts an IPv6 site as one, and an IPv4 address as itself however it is written', () => {
    expect(networkOf('2001:db8:1:2::5')).to.equal(networkOf('2001:db8:1:2:ffff::9'))
    expect(networkOf('2001:db8:1:2::5')).not.to.equal(networkOf('2001:db8:1:3::5'))
    expect(networkOf('::ffff:192.0.2.1')).to.equal(networkOf('192.0.2.1'))
    expect(networkOf('fe80::1%eth0')).to.equal(networkOf('fe80::2'))
  })
})
