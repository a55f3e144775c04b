import { expect } from 'chai'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { runTool } from '../support/openssl.ts'
import { runCli, type CliRun } from '../support/run-cli.ts'

const EXAMPLE = new URL('../../systemd/agent.example.yaml', import.meta.url)

describe('agent service', function () {
  let root: string

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'postern-root-'))
    mkdirSync(join(root, 'etc'))
    for (const name of ['passwd', 'group', 'shadow', 'gshadow'])
      writeFileSync(join(root, 'etc', name), '')
    for (const path of ['usr/bin/agent', 'usr/bin/gateway', 'opt/postern/agent']) {
      mkdirSync(join(root, dirname(path)), { recursive: true })
      writeFileSync(join(root, path), '#!/bin/true\n', { mode: 0o755 })
    }
  })
  afterEach(() => {
    rmSync(root, { recursive: true, force: true })
  })

  const service = async (...args: string[]): Promise<CliRun> =>
    await runCli('agent', ['service', ...args, '--root', root])
  const unit = () => join(root, 'etc/systemd/system/postern-agent.service')
  const settings = () => join(root, 'etc/postern/agent.yaml')

  it('--dry-run prints each step and changes nothing', async () => {
    const { status, stdout } = await service('install', '--dry-run')
    expect(status).to.equal(0)
    expect(stdout).to.include('would   make the system user postern-agent')
    expect(stdout).to.include(`would   write ${unit()}`).and.include(`would   write ${settings()}`)
    expect(existsSync(unit())).to.equal(false)
  })

  it('installs, changes nothing the second time, and keeps the settings that are there', async function () {
    if (process.getuid?.() !== 0) {
      expect((await service('install')).stderr).to.include('INSTALL_FAILED')
      return
    }
    const first = await service('install', '--program', '/opt/postern/agent')
    expect([first.status, first.stderr]).to.satisfy(
      ([status, text]: [number, string]) => status === 0 && text.includes('Next: fill in'),
    )
    expect(readFileSync(unit(), 'utf8')).to.include('ExecStart=/opt/postern/agent run --config')
    expect(readFileSync(join(root, 'etc/passwd'), 'utf8')).to.match(/^postern-agent:.*nologin$/m)
    writeFileSync(settings(), 'trustDomain: mine.test\n')
    const second = await service('install', '--program', '/opt/postern/agent')
    expect(second.stdout).to.not.include('done')
    expect(readFileSync(settings(), 'utf8')).to.equal('trustDomain: mine.test\n')
    expect((await service('status')).status).to.equal(3)
    const shown = JSON.parse((await service('status', '--json')).stdout) as object
    expect(shown).to.include({ installed: true, current: true, enabled: false, active: false })
    expect((await service('uninstall')).stdout).to.include(`done    remove ${unit()}`)
    expect((await service('uninstall')).stdout).to.include('nothing to do')
    expect([existsSync(unit()), existsSync(settings())]).to.deep.equal([false, true])
    expect((await service('status')).status).to.equal(1)
  })

  it('installs no unit whose program is missing, nor says that it would', async () => {
    rmSync(join(root, 'usr/bin/agent'))
    for (const dry of [['--dry-run'], []]) {
      const { status, stderr, stdout } = await service('install', ...dry)
      if (dry.length === 0 && process.getuid?.() !== 0) continue
      expect([status, stdout]).to.deep.equal([1, ''])
      expect(stderr).to.include('[INSTALL_FAILED]').and.include('--program')
    }
  })

  it('is there for the gateway too, whose settings gateway init makes', async () => {
    const run = async (...args: string[]) =>
      await runCli('gateway', ['service', ...args, '--root', root])
    const dry = await run('install', '--dry-run')
    expect(dry.status).to.equal(0)
    expect(dry.stdout).to.include('would   make the system user postern-gateway')
    expect(dry.stdout).to.include('postern-gateway.service').and.not.include('.yaml')
    expect(dry.stderr).to.include('gateway init')
    if (process.getuid?.() !== 0) return
    expect((await run('install')).status).to.equal(0)
    const shown = JSON.parse((await run('status', '--json')).stdout) as object
    expect(shown).to.include({ installed: true, current: true })
    expect((await run('uninstall')).status).to.equal(0)
  })

  it('takes no program whose path could say more to systemd', async () => {
    const { status, stderr } = await service('install', '--dry-run', '--program', '/bin/sh -c x')
    expect([status, stderr.includes('--program must be')]).to.deep.equal([64, true])
  })

  it('says which step failed, and why', async function () {
    if (process.getuid?.() !== 0) this.skip()
    rmSync(join(root, 'etc/group'))
    mkdirSync(join(root, 'etc/group'))
    const { status, stderr } = await service('install')
    expect([status, stderr]).to.satisfy(
      ([code, text]: [number, string]) =>
        code === 1 && /\[INSTALL_FAILED\] useradd .*group/.test(text),
    )
  })

  it('installs a unit whose command line starts the daemon', async () => {
    const { AGENT_UNIT, GATEWAY_UNIT } = await import('../../src/cli/service/units.ts')
    for (const [name, unit] of Object.entries({ agent: AGENT_UNIT, gateway: GATEWAY_UNIT })) {
      const [, ...args] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? []
      expect(args.slice(0, 2)).to.deep.equal(['run', '--config'])
      // It comes as far as the file, which is not there.
      const missing = join(root, args[2] ?? '')
      const run = await runCli(name as 'agent' | 'gateway', ['run', '--config', missing])
      expect([run.status, run.stderr.includes(missing)]).to.deep.equal([66, true])
    }
  })

  it('installs a unit that systemd takes', async () => {
    const { AGENT_UNIT, GATEWAY_UNIT } = await import('../../src/cli/service/units.ts')
    for (const [name, unit] of Object.entries({ agent: AGENT_UNIT, gateway: GATEWAY_UNIT })) {
      const file = join(root, `postern-${name}.service`)
      writeFileSync(file, unit.replace(`/usr/bin/${name}`, '/bin/true'))
      expect(runTool('systemd-analyze', ['verify', file]).output).to.equal('')
    }
  })
})

describe('the example of the settings', () => {
  const text = readFileSync(EXAMPLE, 'utf8')
  const load = (content: string) => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-example-'))
    const file = join(folder, 'agent.yaml')
    writeFileSync(file, content)
    return loadSettings(AGENT_SETTINGS, { flags: {}, environment: {}, file })
  }

  it('is in order as it stands, and with every example in force', () => {
    expect(load(text).values.trustDomain).to.equal('example.com')
    const all = text.replace(/^#(?=[a-zA-Z.]+: )/gm, '').replace(/^[\w.]+: $/gm, '')
    expect(load(all).values.services).to.have.length(1)
  })

  it('explains every setting', () => {
    for (const key of Object.keys(AGENT_SETTINGS))
      expect(text).to.match(new RegExp(`^#?${key}:`, 'm'))
  })
})
