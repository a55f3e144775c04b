import { expect } from 'chai'
import { X509Certificate } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import { Diagnostics } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { rejection } from '../support/code-of.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'

const RENEWALS = 5

describe('renewal', function () {
  let plane: ControlPlane
  let folder: string
  let agent: Agent
  let client: GatewayClient

  beforeEach(async () => {
    plane = await ControlPlane.start()
    folder = plane.stateOf('a-1')
    await plane.enroll('a-1')
    agent = plane.startAgent('a-1')
    client = await plane.connect()
    await isUp()
  })
  afterEach(() => {
    plane.stop()
  })

  const isUp = () => eventually(() => agent.tunnel.state.name === 'ready', 'a tunnel')
  const states = () =>
    plane.records(({ database }) =>
      database
        .selectFrom('certificates')
        .select(['serial', 'state', 'spki'])
        .where('cluster', '=', 'c-1')
        .orderBy('issued_at')
        .execute(),
    )

  it('under load, again and again, loses no call and no stream, and changes the key each time', async () => {
    const diagnostics = client.cluster('c-1').service(Diagnostics)
    let isOver = false
    let calls = 0
    const caller = async (): Promise<void> => {
      while (!isOver) {
        const payload = Buffer.from(String(calls++))
        const echo = await diagnostics.echo({ payload }, { timeoutMs: 20_000 })
        expect(Buffer.from(echo.payload)).to.deep.equal(payload)
      }
    }
    const running = Promise.all(Array.from({ length: 16 }, caller))
    // One answer that is under way through every one of the renewals.
    const messages = 2000
    let received = 0
    const download = (async () => {
      const request = { messages, messageBytes: 1000, intervalMs: 4 }
      for await (const { payload } of diagnostics.download(request, { timeoutMs: 60_000 })) {
        expect(payload).to.have.lengthOf(1000)
        received++
      }
    })()
    for (let i = 0; i < RENEWALS; i++) {
      await agent.changes.renewal?.renewNow()
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
    // Past the handover of the last one.
    await new Promise((resolve) => setTimeout(resolve, 2500))
    isOver = true
    await running
    await download
    expect(received).to.equal(messages)
    expect(calls).to.be.greaterThan(1000)
    const rows = await eventually(async () => {
      const found = await states()
      return found.at(-1)?.state === 'current' ? found : undefined
    }, 'a current certificate')
    expect(rows.map(({ state }) => state)).to.deep.equal([
      ...Array.from({ length: RENEWALS }, () => 'superseded'),
      'current',
    ])
    expect(new Set(rows.map(({ spki }) => spki)).size).to.equal(RENEWALS + 1)
    await eventually(() => plane.gateway.registry.tunnelCount === 1, 'one tunnel left')
    expect(readdirSync(folder).filter((name) => name.startsWith('gen-'))).to.have.lengthOf(2)
  })

  it('keeps the old certificate and the tunnel when the gateway refuses, and tells why', async () => {
    const before = readFileSync(join(folder, 'current/chain.pem'))
    await plane.records(({ database }) =>
      database.updateTable('certificates').set({ state: 'superseded' }).execute(),
    )
    const { renewal } = agent.changes
    if (renewal === undefined) throw new Error('no renewal')
    await rejection(renewal.renewNow(), 'CERT_SUPERSEDED')
    expect(readFileSync(join(folder, 'current/chain.pem'))).to.deep.equal(before)
    expect(agent.tunnel.state.name).to.equal('ready')
  })

  it('asks again with the same key after a failure to store, and gets the same certificate', async () => {
    const obstacle = join(folder, '.current.new')
    mkdirSync(obstacle)
    const { renewal } = agent.changes
    if (renewal === undefined) throw new Error('no renewal')
    await rejection(renewal.renewNow(), 'STATE_UNWRITABLE')
    expect(agent.tunnel.state.name).to.equal('ready')
    rmSync(obstacle, { recursive: true })
    await renewal.renewNow()
    const rows = await states()
    expect(rows).to.have.lengthOf(2)
    const leaf = new X509Certificate(readFileSync(join(folder, 'current/chain.pem')))
    expect(leaf.serialNumber.toLowerCase()).to.equal(rows[1]?.serial)
  })

  it('is let in with what it has after a restart', async () => {
    await agent.changes.renewal?.renewNow()
    agent.stop()
    agent = plane.startAgent('a-1')
    await isUp()
  })

  it('goes over EST while no tunnel is up, where the settings name the address', async () => {
    agent.stop()
    const nowhere = { 'gateway.address': 'localhost:1' }
    rmSync(join(folder, 'enrolled-at.json'))
    agent = plane.startAgent('a-1', nowhere)
    await rejection(agent.changes.renewal?.renewNow() ?? Promise.resolve(), 'CONNECTION_LOST')
    agent.stop()
    agent = plane.startAgent('a-1', { ...nowhere, 'identity.renewUrl': plane.renewUrl })
    await agent.changes.renewal?.renewNow()
    expect((await states()).map(({ state }) => state)).to.deep.equal(['current', 'pending'])
    agent.stop()
    agent = plane.startAgent('a-1')
    await isUp()
    await eventually(async () => (await states()).at(-1)?.state === 'current', 'its first use')
  })
})
