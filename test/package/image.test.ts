import { expect } from 'chai'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runTool } from '../support/openssl.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

describe('the image', function () {
  this.timeout(120_000)
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
