import { expect } from 'chai'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ChildProcesses } from '../../scripts/child-processes.ts'
import { runTool } from '../support/openssl.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const START_MS = 240_000

/** What each example must say, beside ending well. */
const SAYS: Readonly<Record<string, RegExp>> = {
  'objects.sh': /read: written at \d+/,
  'secrets.sh': /listed: .*DB_PASSWORD[\s\S]*age-encryption\.org[\s\S]*"deleted":true/,
  'logs.sh': /epoch 3 token=…[\s\S]*epoch 4 token=…/,
  'metrics.sh': /"values":\[1\][\s\S]*refused, as it should be/,
  'tasks.sh': /"repeated":false[\s\S]*"repeated":true[\s\S]*refused, as it should be/,
  'events.sh': /kept: .*ValueError/,
  'api.sh':
    /SERVING[\s\S]*grpc.health.v1.Health\/Check[\s\S]*as it should be: .*permission_denied.*POLICY_DENIED/,
  'cluster.sh': /"cluster":"dev"[\s\S]*CLUSTER/,
}

describe('the examples', function () {
  let copy: string
  let children: ChildProcesses
  before(async () => {
    // A copy: the quickstart keeps its files in the folder that it is of.
    copy = mkdtempSync(join(tmpdir(), 'postern-examples-'))
    const { status } = runTool('bash', [
      '-c',
      `cd '${ROOT}' && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t '${copy}' && tar --exclude=node_modules/.postern-venv -cf - node_modules | tar -C '${copy}' -xf -`,
    ])
    expect(status).to.equal(0)
    children = new ChildProcesses(copy)
    const quickstart = children.start('quickstart', join(copy, 'scripts/quickstart'), [])
    await quickstart.waitFor('Everything stays up', START_MS)
  })
  after(async () => {
    await children.stopAll().catch(() => undefined)
    rmSync(copy, { recursive: true, force: true })
  })

  it('are all that the list in their folder names', () => {
    const scripts = readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.sh'))
    expect(scripts.filter((name) => name !== 'call.sh').sort()).to.deep.equal(
      Object.keys(SAYS).sort(),
    )
    const list = readFileSync(join(ROOT, 'examples/README.md'), 'utf8')
    for (const name of Object.keys(SAYS)) expect(list).to.include(`[${name}](${name})`)
  })

  for (const [name, said] of Object.entries(SAYS))
    it(`work beside the quickstart: ${name}`, async () => {
      const { stdout } = await run(join(copy, 'examples', name))
      expect(stdout).to.match(said)
    })

  it('is followed by another quickstart, through a stand-in for Cloudflare', async () => {
    await children.stopAll()
    const args = ['scripts/quickstart.ts', '--once', '--cloudflare']
    const { stdout } = await run(process.execPath, args, { cwd: copy })
    expect(stdout).to.match(/via cloudflare-connector[\s\S]*all steps worked\n$/)
  })
})
