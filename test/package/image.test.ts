import { expect } from 'chai'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ChildProcesses } from '../../scripts/child-processes.ts'
import { runTool } from '../support/openssl.ts'
import { smoke } from '../support/smoke.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

const USER = 65532

describe('the image', function () {
  let folder: string
  const root = () => join(folder, 'image')

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-image-'))
    const { status, output } = runTool(`${ROOT}scripts/image-root`, ['agent', root()])
    expect([status, output]).to.satisfy(([code]: [number]) => code === 0)
  })
  after(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it('runs its program in a root that holds nothing else', function () {
    if (process.getuid?.() !== 0) this.skip()
    const { status, output } = runTool('chroot', [
      '--userspec=65532:65532',
      root(),
      '/entrypoint',
      '--version',
    ])
    expect([status, output]).to.deep.equal([0, '0.1.0\n'])
    const { output: checked } = runTool('chroot', [
      '--userspec=65532:65532',
      root(),
      '/usr/bin/agent',
      'health',
    ])
    expect(checked).to.include('DAEMON_NOT_RUNNING')
  })

  for (const inside of ['agent', 'gateway'] as const)
    it(`does all that it is for in such a root: the ${inside}, as a user without a name`, async function () {
      if (process.getuid?.() !== 0) this.skip()
      const image = inside === 'agent' ? root() : join(folder, 'image-gateway')
      if (inside === 'gateway') runTool(`${ROOT}scripts/image-root`, ['gateway', image])
      // As an engine does: names of the container itself.
      writeFileSync(join(image, 'etc/hosts'), '127.0.0.1 localhost\n')
      const work = join(image, 'work')
      mkdirSync(work)
      chownSync(work, USER, USER)
      const children = new ChildProcesses(folder)
      try {
        await smoke({
          version: '0.1.0',
          folder: work,
          seenAs: (program) => (program === inside ? '/work' : work),
          ...(inside === 'agent' ? { agentUser: USER } : {}),
          start: (program, ...args) => {
            const name = `${inside}-image-${program}-${args[0] ?? ''}`
            if (program !== inside)
              return children.start(name, process.execPath, [`${ROOT}bin/${program}.js`, ...args])
            const user = `--userspec=${String(USER)}:${String(USER)}`
            return children.start(name, 'chroot', [user, image, '/entrypoint', ...args])
          },
        })
      } finally {
        children.killAll()
      }
    })

  it('has no shell and nothing that belongs to a root with a password', () => {
    for (const path of ['bin/sh', 'usr/bin/sh', 'usr/bin/apt', 'etc/shadow'])
      expect(existsSync(join(root(), path)), path).to.equal(false)
    expect(readFileSync(join(root(), 'etc/passwd'), 'utf8')).to.match(/^postern:x:65532:/)
    expect(statSync(join(root(), 'usr/bin/agent')).mode & 0o6000).to.equal(0)
  })

  it('lists in CycloneDX what it was made of', () => {
    const text = readFileSync(join(root(), 'usr/share/postern/sbom.cdx.json'), 'utf8')
    const sbom = JSON.parse(text) as {
      bomFormat: string
      components: { name: string; version: string }[]
    }
    expect(sbom.bomFormat).to.equal('CycloneDX')
    const names = sbom.components.map(({ name }) => name)
    expect(names).to.include.members(['pino', 'yargs', 'node']).and.not.include('mocha')
  })

  it('is built by what the Dockerfile runs', () => {
    const text = readFileSync(`${ROOT}Dockerfile`, 'utf8')
    expect(text).to.include('RUN ./scripts/image-root ${PROGRAM} /image')
    expect(text)
      .to.match(/^FROM scratch$/m)
      .and.match(/^USER 65532:65532$/m)
  })
})
