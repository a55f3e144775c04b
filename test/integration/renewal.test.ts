import { expect } from 'chai'
import { X509Certificate } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent } from '../../src/agent/agent.ts'
import { enrol } from '../../src/agent/enrol.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { connectGateway, type GatewayClient } from '../../src/client.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { Diagnostics } from '../../src/gen/postern/v1/diagnostics_pb.js'
import { USAGE_CLIENT } from '../../src/identity/authority.ts'
import { readAuthority } from '../../src/identity/authority-files.ts'
import { Generations } from '../../src/identity/generations.ts'
import { rejection } from '../support/code-of.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { LogRecorder } from '../support/log-recorder.ts'

const HOUR_MS = 3_600_000
const RENEWALS = 5

describe('renewal', function () {
  this.timeout(60_000)
  let plane: ControlPlane
  let folder: string
  let agent: Agent
  let client: GatewayClient
  const log = new LogRecorder()

  beforeEach(async () => {
    plane = await ControlPlane.start()
    folder = mkdtempSync(join(tmpdir(), 'postern-renewal-'))
    const { token } = await plane.token({ agent: 'a-1' })
    await enrol(
      {
        gateway: new URL(plane.enrollUrl),
        token,
        pins: [plane.init.pin],
        bundlePem: undefined,
        trustDomain: DOMAIN,
        keyKind: 'p256',
        onStep: () => undefined,
      },
      new Generations(folder),
      () => systemClock.wallMs(),
    )
    agent = startAgent()
    client = await connectGateway({
      address: { host: 'localhost', port: plane.addresses.callers.port },
      trustDomain: DOMAIN,
      files: await callerFiles(),
    })
    await eventually(() => agent.tunnel.state.name === 'ready', 'a tunnel')
  })
  afterEach(() => {
    client.close()
    agent.stop()
    plane.stop()
    rmSync(folder, { recursive: true })
  })

  function startAgent(flags: Readonly<Record<string, string>> = {}): Agent {
    const { values } = loadSettings(AGENT_SETTINGS, {
      flags: {
        'gateway.address': `localhost:${String(plane.addresses.agents.port)}`,
        trustDomain: DOMAIN,
        'state.directory': folder,
        allow: JSON.stringify([{ caller: '*', methods: ['*'], services: ['*'] }]),
        ...flags,
      },
      environment: {},
      file: undefined,
    })
    const made = new Agent(values, { clock: systemClock, random: systemRandom, logger: log })
    made.start()
    return made
  }

  async function callerFiles() {
    const agents = readAuthority(join(plane.folder, 'cp/ca'), 'agents')
    const leaf = await agents.issueLeaf({
      commonName: 'caller',
      uris: [`spiffe://${DOMAIN}/caller/tester`],
      usage: [USAGE_CLIENT],
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + HOUR_MS),
    })
    const [certificateFile, keyFile] = [join(folder, 'caller.pem'), join(folder, 'caller.key')]
    writeFileSync(certificateFile, leaf.certificatePem + agents.certificatePem)
    writeFileSync(keyFile, leaf.keyPem, { mode: 0o600 })
    return { certificateFile, keyFile, bundleFile: plane.bundleFile }
  }

  const states = () =>
    plane.records(({ database }) =>
      database
        .selectFrom('certificates')
        .select(['serial', 'state', 'spki'])
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
      await agent.renewal?.renewNow()
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
    const { renewal } = agent
    if (renewal === undefined) throw new Error('no renewal')
    await rejection(renewal.renewNow(), 'CERT_SUPERSEDED')
    expect(readFileSync(join(folder, 'current/chain.pem'))).to.deep.equal(before)
    expect(agent.tunnel.state.name).to.equal('ready')
  })

  it('asks again with the same key after a failure to store, and gets the same certificate', async () => {
    const obstacle = join(folder, '.current.new')
    mkdirSync(obstacle)
    const { renewal } = agent
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
    await agent.renewal?.renewNow()
    agent.stop()
    agent = startAgent()
    await eventually(() => agent.tunnel.state.name === 'ready', 'a tunnel')
  })

  it('goes over EST while no tunnel is up, where the settings name the address', async () => {
    agent.stop()
    const nowhere = { 'gateway.address': 'localhost:1' }
    rmSync(join(folder, 'enrolled-at.json'))
    agent = startAgent(nowhere)
    await rejection(agent.renewal?.renewNow() ?? Promise.resolve(), 'CONNECTION_LOST')
    agent.stop()
    agent = startAgent({ ...nowhere, 'identity.renewUrl': plane.renewUrl })
    await agent.renewal?.renewNow()
    expect((await states()).map(({ state }) => state)).to.deep.equal(['current', 'pending'])
    agent.stop()
    agent = startAgent()
    await eventually(() => agent.tunnel.state.name === 'ready', 'a tunnel')
    await eventually(async () => (await states()).at(-1)?.state === 'current', 'its first use')
  })
})
