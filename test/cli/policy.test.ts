import { expect } from 'chai'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCli } from '../support/run-cli.ts'

const POLICY = `version: 1
rules:
  - name: health for the console
    callers: [console]
    methods: [grpc.health.v1.Health/*]
    budget: { calls: 100/min }
  - name: the DBA's database
    callers: [dba-*]
    services: [orders-db]
    sealed: required
`

describe('agent policy', () => {
  let folder: string
  let config: string
  let policy: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-policy-'))
    policy = join(folder, 'policy.yaml')
    config = join(folder, 'agent.yaml')
    writeFileSync(policy, POLICY)
    const services = [
      { name: 'orders-db', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' },
    ]
    const state = { directory: join(folder, 'state') }
    const status = { socket: join(folder, 'agent.sock') }
    writeFileSync(config, JSON.stringify({ policy: { file: policy }, services, state, status }))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  const run = (...args: string[]) => runCli('agent', [...args, '--config', config])
  const test = (...args: string[]) => run('policy', 'test', ...args)

  it('test says by which rule a call is allowed, and at what cost', async () => {
    const { status, stdout } = await test(
      ...['--caller', 'console', '--method', 'grpc.health.v1.Health/Check'],
    )
    expect(stdout.split('\n')).to.deep.equal([
      'ALLOW  by rule "health for the console" (policy.yaml:3); it carries cluster-record',
      '       costs 1 of the budget of rule health for the console calls: 100 of 100 left',
    ])
    expect(status).to.equal(0)
  })

  it('test says what stands against a call, and which rule misses it by the least', async () => {
    const echo = 'postern.v1.Diagnostics/Echo'
    const other = await test('--caller', 'console', '--method', echo)
    expect([other.status, other.stdout.split('\n')]).to.deep.equal([
      1,
      [
        `DENY   no rule allows ${echo} to console (policy.yaml)`,
        '       nearest rule: "health for the console" (policy.yaml:3) allows other methods or services',
      ],
    ])
    const unsealed = await test('--caller', 'dba-anna', '--service', 'orders-db')
    expect(unsealed.stdout).to.include('"the DBA\'s database" (policy.yaml:7) wants a sealed call')
    const sealed = await test('--caller', 'dba-anna', '--service', 'orders-db', '--sealed')
    expect(sealed.stdout).to.include('ALLOW')
    const stranger = await test('--caller', 'nobody', '--method', 'grpc.health.v1.Health/Check')
    expect(stranger.stdout).to.include('allows it to other callers')
    const unknown = await test('--caller', 'console', '--method', 'a.B/C')
    expect(unknown.stdout).to.include('this agent offers no a.B/C: METHOD_UNKNOWN')
    const { stdout } = await test('--caller', 'console', '--method', echo, '--json')
    expect(JSON.parse(stdout)).to.deep.include({ decision: 'deny', why: 'no rule', type: 'own' })
  })

  it('test counts in residency and a lockdown', async () => {
    writeFileSync(policy, `residency: { gateways: [eu] }\n${POLICY}`)
    const check = ['--caller', 'console', '--method', 'grpc.health.v1.Health/Watch']
    expect((await test(...check)).status).to.equal(0)
    const abroad = await test(...check, '--region', 'us-east')
    expect(abroad.stdout).to.include('the region of this gateway is not allowed')
    await run('lockdown', '--reason', 'incident')
    expect((await test(...check)).stdout).to.include('has locked this agent down')
  })

  it('test refuses what is no call', async () => {
    for (const args of [
      ['--caller', 'console'],
      ['--caller', 'console', '--method', 'a.B/C', '--service', 'x'],
      ['--caller', 'dba-*', '--service', 'x'],
      ['--caller', 'a@first-hand', '--service', 'x'],
    ])
      expect((await test(...args)).status, args.join(' ')).to.equal(64)
  })

  it('check says every mistake with its place, and warnings beside', async () => {
    const check = (...args: string[]) => runCli('agent', ['policy', 'check', policy, ...args])
    expect(await check()).to.include({ status: 0, stdout: 'policy.yaml is in order: 2 rules' })
    writeFileSync(policy, `${POLICY}    types: [task-logs]\n`)
    const { status, stderr } = await check()
    expect([status, stderr]).to.deep.equal([
      78,
      'policy.yaml:11:13: data type "task-logs" is not known (did you mean task-log?)',
    ])
    const { stdout } = await check('--json')
    expect(JSON.parse(stdout)).to.deep.include({ valid: false })
    expect((await runCli('agent', ['policy', 'check', join(folder, 'none')])).status).to.equal(66)
  })

  it('print shows each rule with its place, as text and as JSON', async () => {
    const { stdout } = await run('policy', 'print')
    expect(stdout).to.include('policy.yaml:3  health for the console  console')
    expect(stdout).to.include('100 calls/min')
    const json = JSON.parse((await run('policy', 'print', '--json')).stdout) as object
    expect(json).to.deep.include({ origin: 'policy.yaml', running: false, pushes: [] })
  })

  it('is one of two: the file, or allow', async () => {
    writeFileSync(config, JSON.stringify({ policy: { file: policy }, allow: [{ caller: '*' }] }))
    expect((await run('policy', 'print')).stderr).to.include('keep one')
  })
})

describe('agent lockdown', () => {
  it('holds while no daemon runs, until it is lifted', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-lockdown-'))
    try {
      const config = join(folder, 'agent.yaml')
      const state = { directory: join(folder, 'state') }
      writeFileSync(config, JSON.stringify({ state, status: { socket: join(folder, 's.sock') } }))
      const run = (...args: string[]) => runCli('agent', ['lockdown', ...args, '--config', config])
      const locked = await run('--reason', 'incident 4711')
      expect(locked.stdout.split('\n')).to.deep.equal([
        'locked down: incident 4711',
        'no daemon runs; it will hold when one starts',
      ])
      expect((await run('--lift', '--reason', 'x')).status).to.equal(64)
      expect(JSON.parse((await run('--json')).stdout)).to.deep.equal({
        ...{ locked: true, reason: 'by an operator', running: false, handedOut: [] },
      })
      expect((await run('--lift')).stdout).to.equal('lifted; no daemon runs')
      writeFileSync(join(folder, 'state', 'lockdown.json'), 'spoilt')
      const { readLockdown } = await import('../../src/agent/guard/guard.ts')
      expect(readLockdown(join(folder, 'state'))?.reason).to.include('cannot be read')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
