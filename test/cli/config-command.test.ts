import { expect } from 'chai'
import { createPrivateKey } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AGENT, TestPki, TRUST_DOMAIN } from '../support/pki.ts'
import { runCli } from '../support/run-cli.ts'

describe('agent config', () => {
  let pki: TestPki
  let path: string
  beforeEach(async () => {
    pki = await TestPki.create()
    path = join(pki.folder, 'agent.yaml')
  })

  async function write(more: object = {}): Promise<void> {
    const settings = {
      trustDomain: TRUST_DOMAIN,
      identity: await pki.issue(AGENT),
      gateway: { address: 'localhost:1' },
      ...more,
    }
    writeFileSync(path, JSON.stringify(settings))
  }

  it('print shows every value with where it came from', async () => {
    await write()
    const { status, stdout } = await runCli(
      'agent',
      ['config', 'print', '--json', '--config', path, '--log-level', 'debug'],
      { POSTERN_BACKOFF_MAX: '5s' },
    )
    const printed = JSON.parse(stdout) as Record<string, { value: string; origin: string }>
    expect(status).to.equal(0)
    expect(printed['gateway.address']).to.deep.equal({ value: 'localhost:1', origin: 'file' })
    expect(printed['log.level']).to.deep.equal({ value: 'debug', origin: 'flag' })
    expect(printed['backoff.max']).to.deep.equal({ value: '5s', origin: 'environment' })
    expect(printed['backoff.min']).to.deep.equal({ value: '500ms', origin: 'default' })
    expect(stdout).not.to.include('PRIVATE')
    const text = await runCli('agent', ['config', 'print'], { POSTERN_CONFIG: path })
    expect(text.stdout).to.match(/^gateway\.address +localhost:1 +file$/m)
  })

  it('check judges what run would judge, and says what is wrong', async () => {
    const check = () => runCli('agent', ['config', 'check', '--config', path])
    await write()
    expect(await check()).to.include({ status: 0, stdout: 'the settings are in order' })
    const service = { name: 'db', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' }
    for (const [more, said] of [
      [{ backoff: { min: '10s', max: '1s' } }, 'backoff.min'],
      [{ allow: [{ caller: '*', methods: ['Read'] }] }, 'package.Service/Method'],
      [{ services: [{ ...service, dataType: 'gossip' }] }, 'dataType must be one of'],
      [{ services: [{ ...service, dataType: 'report' }] }, 'never crosses'],
      [{ services: [service, service] }, 'stands twice'],
      [{ allow: [{ caller: '*', services: ['cache'] }] }, 'names no service'],
    ] as const) {
      await write(more)
      const { status, stderr } = await check()
      expect([status, stderr.includes('[CONFIG_INVALID]')], stderr).to.deep.equal([78, true])
      expect(stderr).to.include(said)
    }
    await write({ trustDomain: 'other.test' })
    expect((await check()).status).to.equal(78)
  })

  it('check runs no program that the settings name, and judges the rest', async () => {
    const identity = await pki.issue(AGENT)
    const key = createPrivateKey(readFileSync(identity.keyFile))
    const options = {
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    } as const
    writeFileSync(identity.keyFile, key.export(options))
    const trace = join(pki.folder, 'ran')
    const command = ['/bin/sh', '-c', `touch ${trace}; echo x`]
    const check = () => runCli('agent', ['config', 'check', '--config', path])
    const more = { identity: { ...identity, passphraseCommand: command } }
    await write(more)
    const { status, stdout, stderr } = await check()
    expect([status, stdout], stderr).to.deep.equal([0, 'the settings are in order'])
    expect(stderr).to.include('a check runs no program')
    await write({ ...more, allow: [{ caller: '*', services: ['cache'] }] })
    expect((await check()).status).to.equal(78)
    expect(existsSync(trace)).to.equal(false)
  })

  it('that names a program to run is taken from nowhere that others may write', async () => {
    const service = { name: 'db', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' }
    const probes = [{ service: 'db', type: 'exec', command: ['/bin/true'] }]
    const checked = async (): Promise<string> => {
      const { stderr } = await runCli('agent', ['config', 'check', '--config', path])
      return /\[(\w+)\]/.exec(stderr)?.[1] ?? ''
    }
    const open = join(pki.folder, 'open')
    mkdirSync(open)
    chmodSync(open, 0o777)
    for (const more of [
      { services: [service], probes, probe: { exec: 'allowed' } },
      { identity: { ...(await pki.issue(AGENT)), passphraseCommand: ['/bin/true'] } },
    ]) {
      path = join(pki.folder, 'agent.yaml')
      await write(more)
      chmodSync(path, 0o600)
      expect(await checked()).to.equal('')
      for (const mode of [0o664, 0o646]) {
        chmodSync(path, mode)
        expect(await checked()).to.equal('CONFIG_EXPOSED')
      }
      path = join(open, 'agent.yaml')
      await write(more)
      chmodSync(path, 0o644)
      expect(await checked()).to.equal('CONFIG_EXPOSED')
      // Without a program it is read wherever it lies.
      await write()
      expect(await checked()).to.equal('')
    }
  })
})

describe('a command line', () => {
  it('that is wrong (USAGE) ends with status 64 and says why', async () => {
    for (const [args, said] of [
      [[], 'Name a command'],
      [['rnu'], 'run'],
      [['run', '--bogus', '1'], 'bogus'],
      [['config'], 'Name one of'],
      [['config', 'check', '--log-level'], 'log-level'],
    ] as const) {
      const { status, stderr } = await runCli('agent', args)
      expect(status, stderr).to.equal(64)
      expect(stderr).to.include(said)
    }
    const call = await runCli('gateway', [
      'call',
      'c-1',
      'grpc.health.v1.Health/Check',
      '--data',
      '{',
    ])
    expect([call.status, call.stderr.includes('--data is not JSON')]).to.deep.equal([64, true])
  })

  it('for a daemon that does not run ends with status 3', async () => {
    const { status, stderr } = await runCli('agent', ['status', '--socket', '/nonexistent/x.sock'])
    expect(status).to.equal(3)
    expect(stderr).to.include('[DAEMON_NOT_RUNNING]')
  })

  it('takes the last of an option that is given again', async () => {
    const again = ['--socket', '/nonexistent/a.sock', '--socket', '/nonexistent/b.sock']
    const { status, stderr } = await runCli('agent', ['status', ...again])
    expect([status, stderr.includes('b.sock')], stderr).to.deep.equal([3, true])
  })

  it('in an unsafe environment does nothing', async () => {
    const { status, stderr } = await runCli('agent', ['run'], { SSLKEYLOGFILE: 'x' })
    expect([status, stderr.includes('[ENVIRONMENT_UNSAFE]')]).to.deep.equal([78, true])
  })

  it('with a file that is not there ends with status 66', async () => {
    const { status } = await runCli('agent', ['run', '--config', '/nonexistent.yaml'])
    expect(status).to.equal(66)
  })
})
