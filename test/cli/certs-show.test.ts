import { expect } from 'chai'
import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Generations } from '../../src/identity/generations.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { AGENT, TestPki, TRUST_DOMAIN } from '../support/pki.ts'
import { runCli } from '../support/run-cli.ts'

const HOUR_MS = 3_600_000

describe('agent certs show and needs-renewal', () => {
  let folder: string
  let pki: TestPki
  before(async () => {
    pki = await TestPki.create()
  })
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-show-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  /** Installs a certificate that began and ends so many hours from now. */
  async function install(fromHours: number, toHours: number): Promise<KeyFilePaths> {
    const at = (hours: number): Date => new Date(Date.now() + hours * HOUR_MS)
    const files = await pki.issue(AGENT, { notBefore: at(fromHours), notAfter: at(toHours) })
    const read = (path: string): string => readFileSync(path, 'utf8')
    new Generations(folder).install(
      {
        chainPem: read(files.certificateFile),
        key: createPrivateKey(read(files.keyFile)),
        keyPem: read(files.keyFile),
        bundlePem: read(files.bundleFile),
      },
      Date.now(),
    )
    return files
  }
  const certs = (...args: readonly string[]) =>
    runCli('agent', ['certs', ...args, '--state-directory', folder])

  it('tell identity, validity, renewal, chain, roots and files, and never the key', async () => {
    await install(-6, 18)
    const { status, stdout } = await certs('show')
    expect(status).to.equal(0)
    expect(stdout).to.include(`spiffe://${TRUST_DOMAIN}/cluster/c-1/agent/a-1`)
    expect(stdout)
      .to.include('[#####---------------] 25 %')
      .and.to.match(/renewal +due .* \(in /)
    const shown = JSON.parse((await certs('show', '--json')).stdout) as Record<string, unknown>
    expect(shown).to.include({ key: 'ec prime256v1', isManaged: true })
    expect(shown.roots).to.have.lengthOf(1)
    expect(stdout + JSON.stringify(shown)).not.to.include('PRIVATE')
  })

  it('show one that has expired as well', async () => {
    await install(-30, -1)
    const { status, stdout } = await certs('show')
    expect([status, stdout]).to.satisfy(
      ([code, text]: [number, string]) =>
        code === 0 && text.includes('EXPIRED') && text.includes('due now'),
    )
  })

  it('exit 0 when a renewal is due, 1 when not, 2 without a certificate', async () => {
    const none = await certs('needs-renewal')
    expect([none.status, none.stderr]).to.satisfy(
      ([code, text]: [number, string]) => code === 2 && text.includes('[NOT_ENROLLED]'),
    )
    await install(-1, 23)
    expect((await certs('needs-renewal')).status).to.equal(1)
    await install(-20, 4)
    expect((await certs('needs-renewal')).status).to.equal(0)
  })

  it('find the files that the settings name', async () => {
    const files = await install(-1, 23)
    const config = join(folder, 'agent.yaml')
    writeFileSync(
      config,
      JSON.stringify({
        gateway: { address: 'localhost:1' },
        trustDomain: TRUST_DOMAIN,
        identity: files,
      }),
    )
    const { status, stdout } = await runCli('agent', ['certs', 'show', '--config', config])
    expect(status).to.equal(0)
    expect(stdout).to.include('by somebody else').and.to.include(files.keyFile)
  })
})
