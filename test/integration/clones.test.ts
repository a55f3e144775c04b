import { expect } from 'chai'
import { cpSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import type { Agent } from '../../src/agent/agent.ts'
import { statusNow } from '../support/status-now.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'

describe('a cloned identity', function () {
  let plane: ControlPlane
  let elsewhere: Server

  async function setUp(clones: 'warn' | 'cut'): Promise<{ honest: Agent; clone: Agent }> {
    plane = await ControlPlane.start({ 'agents.clones': clones, 'tunnel.pingInterval': '200ms' })
    await plane.enroll('a-1')
    cpSync(plane.stateOf('a-1'), plane.stateOf('copy'), { recursive: true, verbatimSymlinks: true })
    // Another place: a connection that comes from another address.
    const { port } = plane.addresses.agents
    elsewhere = createServer((near) => {
      const far = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' })
      for (const socket of [near, far]) socket.on('error', () => undefined)
      near.pipe(far).pipe(near)
    }).listen(0, '127.0.0.1')
    const honest = plane.startAgent('a-1', { 'tunnel.pingInterval': '200ms' })
    await eventually(() => honest.tunnel.state.name === 'ready', 'the tunnel is up')
    const clone = plane.startAgent('copy', {
      'tunnel.pingInterval': '200ms',
      'gateway.address': `localhost:${String((elsewhere.address() as AddressInfo).port)}`,
    })
    return { honest, clone }
  }
  afterEach(() => {
    plane.stop()
    elsewhere.close()
  })

  it('is a warning on both ends while both are alive in two places', async () => {
    const { honest, clone } = await setUp('warn')
    for (const agent of [honest, clone]) {
      await eventually(() => agent.notices.warnings.length > 0, 'it is warned')
      const { health, reasons } = statusNow(agent, Date.now())
      expect(health).to.equal('degraded')
      expect(reasons.join()).to.include('two live agents present one certificate')
    }
    expect(plane.log.lines.some(({ message }) => message === 'cloned identity')).to.equal(true)
    const { stdout } = await plane.command('events', '--json')
    expect(stdout).to.include('identity.cloned').and.to.include('127.0.0.2')
  })

  it('is cut on both ends where the policy says so', async () => {
    const { honest, clone } = await setUp('cut')
    for (const agent of [honest, clone])
      await eventually(() => agent.tunnel.lastError?.code === 'IDENTITY_CLONED', 'it is cut')
  })

  it('is not what an agent that is restarted, or comes from another address, is taken for', async () => {
    const { honest, clone } = await setUp('warn')
    honest.stop()
    await eventually(() => clone.tunnel.state.name === 'ready', 'the tunnel is up')
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(clone.notices.warnings).to.deep.equal([])
  })
})
