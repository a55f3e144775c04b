import { expect } from 'chai'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { runTool } from '../support/openssl.ts'
import { runCli, type CliRun } from '../support/run-cli.ts'

const EXAMPLE = new URL('../../systemd/agent.example.yaml', import.meta.url)

describe('agent service', function () {
  this.timeout(30_000)
  let root: string

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'postern-root-'))
    mkdirSync(join(root, 'etc'))
    for (const name of ['passwd', 'group', 'shadow', 'gshadow'])
      writeFileSync(join(root, 'etc', name), '')
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

  it('installs a unit that systemd takes', async () => {
    const { AGENT_UNIT } = await import('../../src/cli/service-texts.ts')
    const file = join(root, 'postern-agent.service')
    writeFileSync(file, AGENT_UNIT.replace('/usr/bin/agent', '/bin/true'))
    expect(runTool('systemd-analyze', ['verify', file]).output).to.equal('')
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
