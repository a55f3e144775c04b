import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Daemons } from '../support/daemons.ts'
import { sealingKey } from '../support/sealing.ts'

const VERIFIER = fileURLToPath(new URL('../../tools/verify_record.py', import.meta.url))
const POLICY = `version: 1
residency: { gateways: [r-1] }
rules: [{ name: health, callers: [tester], methods: [grpc.health.v1.Health/*] }]
`

describe('agent prove', function () {
  this.timeout(120_000)
  let daemons: Daemons
  let config: string
  beforeEach(async () => {
    daemons = await Daemons.create()
    const policy = join(daemons.pki.folder, 'policy.yaml')
    writeFileSync(policy, POLICY)
    const { pin } = sealingKey(daemons.pki.folder, 'console')
    await daemons.startGateway()
    config = await daemons.settings('agent', {
      allow: [],
      policy: { file: policy },
      seal: { callers: [{ caller: 'console', pin }] },
    })
    const agent = daemons.start('agent', 'run', '--config', config)
    await agent.waitFor('the tunnel is up', 60_000)
  })
  afterEach(() => {
    daemons.stop()
  })

  const verified = (...args: string[]) => {
    const key = join(daemons.pki.folder, 'state/audit/audit-key.pub.pem')
    return spawnSync('python3', [VERIFIER, '--key', key, ...args], { encoding: 'utf8' })
  }

  it('shows each promise on the live installation, and signs what it has seen', async () => {
    const out = join(daemons.pki.folder, 'proof.json')
    const page = join(daemons.pki.folder, 'proof.html')
    const { status, text } = await daemons.run(
      ...(['agent', 'prove', '--config', config, '--nonce', 'n-17', '--all'] as const),
      ...['--out', out, '--html', page],
    )
    const outcomes = text
      .split('\n')
      .flatMap((line) => /^(PASS|FAIL|NOT SHOWN) +(.*?): (.*)$/.exec(line)?.slice(1, 4) ?? [])
    expect(text).to.not.include('FAIL')
    expect(status, text).to.equal(0)
    for (const promise of [
      'TLS below 1.2 is refused',
      'a suite without forward secrecy is refused',
      'nobody comes in without a certificate',
      'a certificate of another CA is refused, whatever its name',
      'gateways are where the policy says',
      'nobody can reach in, as the agent only dials out',
      'the control plane cannot widen the policy',
      'what never crosses cannot be served',
      'what is relayed is not kept',
      'the relay cannot read or forge sealed calls',
      'the record is whole',
      'the customer can end everything at once',
    ])
      expect(outcomes[outcomes.indexOf(promise) - 1], promise + text).to.equal('PASS')
    const signed = JSON.parse(readFileSync(out, 'utf8')) as { report: string }
    const good = verified('--report', out, '--nonce', 'n-17')
    expect([good.status, good.stdout]).to.deep.include(0)
    expect(good.stdout).to.include('in order')
    const other = verified('--report', out, '--nonce', 'n-18')
    expect([other.status, other.stdout.includes('another nonce')]).to.deep.equal([1, true])
    const forged = { ...signed, report: signed.report.replace('NOT SHOWN', 'PASS') }
    writeFileSync(out, JSON.stringify(forged))
    const bad = verified('--report', out, '--nonce', 'n-17')
    expect([bad.status, bad.stdout.includes('signature')]).to.deep.equal([1, true])
    writeFileSync(out, '{}')
    expect(verified('--report', out).status).to.equal(2)
    expect(readFileSync(page, 'utf8')).to.include('what is relayed is not kept')
    const record = await daemons.run('agent', 'audit', 'tail', '--config', config)
    expect(record.text)
      .to.include('"gateway":"agent prove"')
      .and.include('everything for everybody')
  })

  it('says what is not shown, and by its exit status that a promise does not hold', async () => {
    await daemons.run('agent', 'prove', '--config', config)
    const leak = join(daemons.pki.folder, 'state/audit/record-00000001.jsonl')
    writeFileSync(leak, readFileSync(leak, 'utf8').replace('"event"', '"EVENT"'))
    const { status, text } = await daemons.run('agent', 'prove', '--config', config)
    expect(text).to.match(/FAIL +the record is whole/)
    expect(text).to.match(/NOT SHOWN +the customer can end everything at once/)
    expect(status).to.equal(1)
    const down = await daemons.run('agent', 'prove', '--socket', '/nowhere/agent.sock')
    expect(down.status).to.not.equal(0)
  })
})
