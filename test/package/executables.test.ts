import { expect } from 'chai'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child } from '../../scripts/child-processes.ts'
import { Daemons } from '../support/daemons.ts'
import { smoke } from '../support/smoke.ts'
import { eventually } from '../support/eventually.ts'

const PACKAGE = fileURLToPath(new URL('../../scripts/package.ts', import.meta.url))
/** Nothing to be found, Node least of all. */
const BARE = ['-i', 'PATH=/nonexistent'] as const

describe('the single-file executables', function () {
  let folder: string
  let daemons: Daemons

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-package-'))
    execFileSync(process.execPath, [PACKAGE, folder], { stdio: 'pipe' })
    daemons = await Daemons.create()
  })
  after(() => {
    daemons.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  function start(name: 'agent' | 'gateway', ...args: string[]): Child {
    const command = [...BARE, join(folder, name), ...args]
    return daemons.children.start(`packaged-${name}-${args[0] ?? ''}`, '/usr/bin/env', command)
  }

  async function run(
    name: 'agent' | 'gateway',
    ...args: string[]
  ): Promise<{ status: number; text: string }> {
    const child = start(name, ...args)
    return { status: await child.ended, text: child.text }
  }

  it('say their version, help, and what is wrong with a command line', async () => {
    expect(await run('agent', '--version')).to.deep.equal({ status: 0, text: '0.1.0\n' })
    expect((await run('gateway', '--help')).text).to.include('gateway drain')
    expect((await run('agent', 'nonsense')).status).to.equal(64)
    expect((await run('agent', 'config', 'print')).status).to.equal(78)
  })

  it('make a control plane with its store', async () => {
    const made = await run(
      'gateway',
      'init',
      '--dir',
      join(folder, 'cp'),
      '--trust-domain',
      'a.test',
      '--dns',
      'localhost',
    )
    expect([made.status, made.text]).to.satisfy(
      ([status, text]: [number, string]) => status === 0 && text.includes('sha256:'),
    )
    const config = join(folder, 'cp/gateway.yaml')
    const listed = await run('gateway', 'tokens', 'list', '--config', config)
    expect([listed.status, listed.text.includes('Warning')]).to.deep.equal([0, false])
  })

  it('do all that they are for, without Node', async () => {
    const work = join(folder, 'smoke')
    mkdirSync(work)
    await smoke({ version: '0.1.0', folder: work, start })
  })

  it('run both daemons, which find each other', async () => {
    const gateway = start('gateway', 'run', '--config', await daemons.settings('gateway'))
    await gateway.waitFor('gateway is listening', 150000)
    const file = await daemons.settings('agent')
    const agent = start('agent', 'run', '--config', file)
    await agent.waitFor('the tunnel is up', 150000)
    await eventually(
      async () => (await run('agent', 'status', '--config', file)).status === 0,
      'the agent is healthy',
    )
    for (const child of [agent, gateway]) {
      child.process.kill('SIGTERM')
      expect(await child.ended).to.equal(0)
    }
  })
})
