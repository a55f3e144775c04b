import { expect } from 'chai'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { extract } from 'tar'
import type { LastStatus } from '../../src/agent/control/last-status.ts'
import { Daemons } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT } from '../support/pki.ts'

const SECRETS = {
  proxy: 'pa55-in-the-proxy-url',
  proxyFile: 'pa55-in-the-proxy-file',
  token: 'join-token-of-the-run',
}

describe('agent diag', function () {
  let daemons: Daemons
  let file: string
  let keyFile: string

  beforeEach(async () => {
    daemons = await Daemons.create()
    const put = (name: string, text: string): string => {
      const path = join(daemons.pki.folder, name)
      writeFileSync(path, text, { mode: 0o600 })
      return path
    }
    const identity = await daemons.pki.issue(AGENT)
    keyFile = identity.keyFile
    file = await daemons.settings('agent', {
      identity,
      gateway: {
        address: `localhost:${String(daemons.agentPort)}`,
        proxy: `http://edge:${SECRETS.proxy}@127.0.0.1:1`,
        proxyPasswordFile: put('proxy-password', SECRETS.proxyFile),
        noProxy: ['localhost'],
      },
      join: { tokenFile: put('join-token', SECRETS.token) },
    })
  })
  afterEach(() => {
    daemons.stop()
  })

  async function collect(name: string): Promise<{ text: string; files: Map<string, string> }> {
    const archive = join(daemons.pki.folder, `${name}.tar.gz`)
    const run = await daemons.run('agent', 'diag', '--config', file, '--out', archive)
    expect([run.status, run.text], run.text).to.satisfy(([status]: [number]) => status === 0)
    expect(statSync(archive).mode & 0o077).to.equal(0)
    const cwd = join(daemons.pki.folder, name)
    mkdirSync(cwd)
    await extract({ file: archive, cwd })
    const [inner = ''] = readdirSync(cwd)
    const files = new Map(
      readdirSync(join(cwd, inner)).map((path) => [
        path,
        readFileSync(join(cwd, inner, path), 'utf8'),
      ]),
    )
    const again = await daemons.run('agent', 'diag', '--config', file, '--out', archive)
    expect([again.status, again.text.includes('STATE_EXISTS')]).to.deep.equal([73, true])
    return { text: [...files.values()].join('\n') + run.text, files }
  }

  function expectNoSecret(text: string): void {
    const key = readFileSync(keyFile, 'utf8')
    const body = key.split('\n').filter((line) => line !== '' && !line.startsWith('-----'))
    for (const secret of [...Object.values(SECRETS), ...body, 'PRIVATE KEY'])
      expect(text.includes(secret), secret.slice(0, 12)).to.equal(false)
  }

  it('holds everything that a ticket needs, and no secret of the run', async () => {
    await daemons.startGateway()
    const agent = daemons.start('agent', 'run', '--config', file)
    await agent.waitFor('the tunnel is up', 150000)
    await eventually(
      () => existsSync(join(daemons.pki.folder, 'state/last-status.json')),
      'it is kept',
    )
    const { text, files } = await collect('up')
    expect([...files.keys()]).to.include.members([
      'settings.json',
      'versions.json',
      'status.json',
      'metrics.txt',
      'log.jsonl',
      'process.json',
      'doctor.json',
      'notes.txt',
    ])
    expect(files.get('log.jsonl')).to.include('the tunnel is up')
    expect(files.get('metrics.txt')).to.include('postern_tunnel_up 1')
    const inside = JSON.parse(files.get('process.json') ?? '') as { handles: object; heap: object }
    expect(inside.heap).to.have.property('total_heap_size')
    expect(inside.handles).to.not.deep.equal({})
    expect(files.get('settings.json')).to.include('edge:…@127.0.0.1:1')
    expect(files.get('doctor.json')).to.include('"name": "session"')
    expectNoSecret(text)
    expectNoSecret(agent.text)
  })

  it('without the daemon has the last known state, and says what is missing', async () => {
    await daemons.startGateway()
    const agent = daemons.start('agent', 'run', '--config', file)
    await agent.waitFor('the tunnel is up', 150000)
    agent.process.kill('SIGTERM')
    await agent.ended
    const { text, files } = await collect('down')
    expect(files.get('notes.txt')).to.include('the daemon was not asked: DAEMON_NOT_RUNNING')
    const last = JSON.parse(files.get('last-status.json') ?? '') as LastStatus
    expect(last.status.events.map(({ kind }) => kind)).to.include('tunnel-up')
    expectNoSecret(text)
  })

  it('config print hides the password of a proxy', async () => {
    const { text } = await daemons.run('agent', 'config', 'print', '--config', file)
    expect(text).to.include('http://edge:…@127.0.0.1:1')
    expectNoSecret(text)
  })
})
