import { expect } from 'chai'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pemText } from '../../src/identity/pem.ts'
import { make, type Made } from '../support/chain-builder.ts'
import { runCli } from '../support/run-cli.ts'

const AT = ['--time', '2026-11-23T12:00:00Z']

describe('agent certs verify', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-verify-'))
  let files: { leaf: string; issuing: string; root: string }
  const file = (name: string, content: string | Buffer): string => {
    const path = join(folder, name)
    writeFileSync(path, content)
    return path
  }
  const pem = ({ facts }: Made): string => pemText('CERTIFICATE', facts.der)

  before(async () => {
    const root = await make({ isCa: true, subject: 'CN=root' })
    const issuing = await make({ isCa: true, issuer: root, subject: 'CN=issuing' })
    const leaf = await make({ issuer: issuing, subject: 'CN=leaf', usage: ['1.3.6.1.5.5.7.3.2'] })
    files = {
      leaf: file('leaf.pem', pem(leaf)),
      issuing: file('issuing.pem', `for people\n${pem(issuing)}`),
      root: file('root.der', root.facts.der),
    }
    file('both.pem', pem(leaf) + pem(issuing))
  })
  after(() => {
    rmSync(folder, { recursive: true })
  })

  const verify = (...more: readonly string[]) =>
    runCli('agent', [
      'certs',
      'verify',
      '--leaf',
      files.leaf,
      '--roots',
      files.root,
      ...AT,
      ...more,
    ])

  it('exits 0 for a valid chain and prints its path', async () => {
    const { status, stdout } = await verify('--intermediates', files.issuing)
    expect(stdout).to.equal('valid\n  CN=leaf\n  issued by CN=issuing\n  issued by CN=root')
    expect(status).to.equal(0)
  })

  it('takes intermediates from the file of the leaf', async () => {
    const leaf = join(folder, 'both.pem')
    const { status } = await runCli('agent', [
      'certs',
      'verify',
      '--leaf',
      leaf,
      '--roots',
      files.root,
      ...AT,
    ])
    expect(status).to.equal(0)
  })

  it('exits 1 with every broken rule', async () => {
    const more = [
      '--intermediates',
      files.issuing,
      '--role',
      'server',
      '--name',
      'other.example.com',
    ]
    const text = await verify(...more)
    expect(text.status).to.equal(1)
    expect(text.stdout).to.match(/^not valid: 4 rules are broken\n/)
    const { stdout } = await verify(...more, '--json')
    const result = JSON.parse(stdout) as {
      valid: boolean
      faults: { place: string; rule: string }[]
    }
    expect(result.valid).to.equal(false)
    expect(result.faults.map(({ place, rule }) => `${place} ${rule}`)).to.deep.equal([
      'leaf lacks the extended key usage of a server',
      'leaf does not hold the name other.example.com',
      'leaf has 0 URI names instead of one',
      'leaf is a client and has a DNS name',
    ])
  })

  it('judges at the time that it is told', async () => {
    for (const [time, status] of [
      ['1763899200', 1],
      ['2026-11-23T13:00:00+01:00', 0],
      ['2026-12-23', 1],
    ] as const) {
      const run = await verify('--intermediates', files.issuing, '--time', time)
      expect(run.status, time).to.equal(status)
    }
    const run = await verify('--time', 'tomorrow')
    expect([run.status, run.stderr]).to.deep.equal([
      64,
      'agent: --time "tomorrow" is neither ISO 8601 with a zone nor seconds\nTry --help.',
    ])
  })

  it('says what it left out, and goes on without', async () => {
    const broken = file('broken.pem', pemText('CERTIFICATE', Buffer.from('3003020101', 'hex')))
    const run = await verify('--intermediates', files.issuing, broken)
    expect(run.status).to.equal(0)
    expect(run.stderr).to.match(/^agent: left out: .*broken\.pem: certificate 1: /)
  })

  it('exits 1 where the leaf is no certificate, and 66 where a file is missing', async () => {
    const nothing = file('nothing.pem', 'nothing at all')
    const run = await runCli('agent', ['certs', 'verify', '--leaf', nothing, '--roots', files.root])
    expect([run.status, run.stdout]).to.satisfy(
      ([status, text]: [number, string]) => status === 1 && text.includes('holds no certificate'),
    )
    const missing = await verify('--intermediates', join(folder, 'missing.pem'))
    expect([missing.status, missing.stderr]).to.satisfy(
      ([status, text]: [number, string]) => status === 66 && text.includes('[FILE_UNREADABLE]'),
    )
  })
})
