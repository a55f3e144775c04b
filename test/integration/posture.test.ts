import { expect } from 'chai'
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Finding } from '../../src/base/finding.ts'
import { agentPosture } from '../../src/agent/posture/posture.ts'
import { gatewayPosture } from '../../src/gateway/posture/posture.ts'
import { Daemons } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { s3Target } from '../support/objects/s3-target.ts'
import { Stack } from '../support/stack.ts'

const of = (list: readonly Finding[], area: string, check: string): Finding | undefined =>
  list.find((one) => one.area === area && one.check === check)

describe('posture', () => {
  it('shows each hop, store and backend with what was seen, and FAIL for plain text that leaves', async () => {
    const stack = await Stack.start()
    const target = await s3Target(stack.pki)
    try {
      const { caFile } = target
      const store = {
        name: 'artifacts',
        bucket: 'artifacts',
        ...target.row,
        caFile,
        prefixes: { report: ['r/'] },
      }
      const spill = join(stack.pki.folder, 'secrets')
      mkdirSync(spill, { mode: 0o700 })
      const agent = await stack.startAgent({
        services: JSON.stringify([
          { name: 'near', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' },
          {
            name: 'far',
            target: 'tcp://db.invalid:1',
            dataType: 'service-traffic',
            plaintext: 'allowed',
          },
          { name: 'away', target: 'tls://127.0.0.1:1', dataType: 'service-traffic' },
        ]),
        stores: JSON.stringify([store]),
        secrets: JSON.stringify([
          { name: 'files', type: 'files', directory: spill, recipient: `age1${'q'.repeat(58)}` },
          { name: 'aws', type: 'aws', region: 'eu-west-1', endpoint: 'https://127.0.0.1:1' },
        ]),
        'metrics.listen': '0.0.0.0:1',
        'metrics.plaintext': 'allowed',
        'audit.anchor': 'syslog://siem.invalid:514',
      })
      const found = await agentPosture(agent.settings, stack.ambient, new AbortController().signal)
      const hops = found.filter(({ check }) => check === 'encryption in transit')
      const outcomeOf = (subject: string) => hops.find((one) => one.subject === subject)?.outcome
      expect(outcomeOf('near')).to.equal('OK')
      expect(outcomeOf('far')).to.equal('FAIL')
      expect(outcomeOf('away')).to.equal('UNKNOWN')
      expect(hops.find((one) => one.subject === 'artifacts')?.evidence).to.match(
        /^TLSv1\.3, .*test issuing/,
      )
      expect(outcomeOf('audit.anchor')).to.equal('WARN')
      expect(found.find(({ subject }) => subject === 'metrics.listen')?.outcome).to.equal('FAIL')
      expect(of(found, 'secrets (files)', 'encryption at rest')?.outcome).to.equal('OK')
      expect(of(found, 'secrets (aws)', 'whose key')?.outcome).to.equal('WARN')
      expect(of(found, 'object store', 'region')?.outcome).to.equal('OK')
      expect(of(found, 'object store', 'encryption at rest')).not.to.equal(undefined)
      expect(found.every(({ evidence }) => evidence !== '')).to.equal(true)
      expect(JSON.stringify(found)).not.to.include('secret-of-tests')
    } finally {
      target.stop()
      stack.stop()
    }
  })

  it('of a gateway shows store, keys and listeners', async () => {
    const stack = await Stack.start()
    const file = join(stack.pki.folder, 'records.db')
    stack.gateway.stop()
    await stack.startGateway({ 'records.file': file })
    const found = await gatewayPosture(stack.gateway.settings, 'r-1')
    expect(of(found, 'store', 'others kept out')?.outcome).to.equal('OK')
    expect(of(found, 'identity', 'private key encrypted')?.outcome).to.equal('WARN')
    expect(of(found, 'listener', 'encryption in transit')?.evidence).to.include('mutual TLS')
    expect(of(found, 'gateway', 'residency')?.evidence).to.include('r-1')
    stack.stop()
  })

  it('is printed by both daemons, for people, programs and a page', async () => {
    const daemons = await Daemons.create()
    try {
      await daemons.startGateway()
      await daemons.startAgent()
      const { folder } = daemons.pki
      const page = join(folder, 'posture.html')
      const agent = await daemons.run(
        'agent',
        'posture',
        '--socket',
        join(folder, 'agent.sock'),
        '--html',
        page,
      )
      expect(agent.status, agent.text).to.equal(0)
      expect(agent.text).to.match(/\d+ OK, \d+ WARN, 0 FAIL, \d+ UNKNOWN/)
      expect(readFileSync(page, 'utf8')).to.include('<h1>Posture of the agent</h1>')
      expect(statSync(page).mode & 0o777).to.equal(0o600)
      const gateway = await daemons.run(
        'gateway',
        'posture',
        '--socket',
        join(folder, 'gateway.sock'),
        '--json',
      )
      const { findings } = JSON.parse(gateway.text) as { findings: Finding[] }
      expect(findings.some(({ area }) => area === 'listener')).to.equal(true)
      const none = await daemons.run('agent', 'posture', '--socket', join(folder, 'none.sock'))
      expect(none.status).to.equal(3)
    } finally {
      daemons.stop()
    }
  })

  it('is told to the control plane in numbers, where the customer lets it, and not otherwise', async () => {
    const stack = await Stack.start()
    try {
      const agent = await stack.startAgent()
      const client = await stack.connect()
      const told = async () => (await client.getCluster('c-1')).tunnels[0]
      const isHeard = async (): Promise<boolean> => (await told())?.heartbeatAtMs !== undefined
      await eventually(isHeard, 'a heartbeat has come')
      expect((await told())?.posture).to.equal(undefined)
      await agent.reload(() => ({ ...agent.settings, 'posture.tell': 'summary' }))
      await eventually(async () => (await told())?.posture !== undefined, 'the numbers are told')
      const seen = await agentPosture(agent.settings, stack.ambient, new AbortController().signal)
      const posture = (await told())?.posture
      expect(posture?.ok).to.equal(seen.filter(({ outcome }) => outcome === 'OK').length)
      expect(posture?.fail).to.equal(seen.filter(({ outcome }) => outcome === 'FAIL').length)
      expect(Number(posture?.atMs)).to.be.closeTo(Date.now(), 60_000)
      await agent.reload(() => ({ ...agent.settings, 'posture.tell': 'nothing' }))
      await eventually(
        async () => (await told())?.posture === undefined,
        'nothing is told any more',
      )
    } finally {
      stack.stop()
    }
  })
})
