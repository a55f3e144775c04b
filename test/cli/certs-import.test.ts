import { expect } from 'chai'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readCredential } from '../../src/identity/key-files.ts'
import { AGENT, CALLER, TestPki } from '../support/pki.ts'
import { openssl, runTool } from '../support/openssl.ts'
import { runCli, type CliRun } from '../support/run-cli.ts'

const PASSPHRASE = 'correct horse'

describe('agent certs import', function () {
  let pki: TestPki
  let folder: string
  before(async () => {
    pki = await TestPki.create()
  })
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-import-'))
    writeFileSync(join(folder, 'pass'), `${PASSPHRASE}\n`, { mode: 0o600 })
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })
  const at = (name: string): string => join(folder, name)

  async function p12(
    more: readonly string[],
    identity: typeof AGENT | typeof CALLER = AGENT,
  ): Promise<void> {
    const files = await pki.issue(identity)
    const args = [
      ...['pkcs12', '-export', '-inkey', files.keyFile, '-in', files.certificateFile],
      ...['-certfile', pki.bundleFile, '-passout', `file:${at('pass')}`, '-out', at('id.p12')],
      ...more,
    ]
    const { status, output } = runTool('openssl', args)
    expect([status, output.includes('rror')]).to.deep.equal([0, false])
  }
  const run = async (...more: string[]): Promise<CliRun> =>
    await runCli('agent', [
      ...['certs', 'import', '--p12', at('id.p12'), '--passphrase-file', at('pass')],
      ...['--dir', at('out'), ...more],
    ])

  for (const [what, more] of [
    ['as OpenSSL writes it now', []],
    ['with RC2 and 3DES, as old PKIs do', ['-legacy']],
    [
      'with 3DES and a MAC of SHA-1',
      ['-legacy', '-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'],
    ],
  ] as const)
    it(`takes a file ${what}`, async () => {
      await p12(more)
      const { status, stdout, stderr } = await run()
      expect([status, stderr]).to.deep.equal([0, ''])
      expect(stdout).to.include('cluster/c-1/agent/a-1').and.include('certificateFile: "')
      const files = {
        certificateFile: at('out/agent.pem'),
        keyFile: at('out/agent.key'),
        bundleFile: at('out/bundle.pem'),
      }
      expect(readCredential(files, 'agent', Date.now()).identity).to.deep.equal(AGENT)
      expect(statSync(files.keyFile).mode & 0o777).to.equal(0o600)
      expect(readFileSync(files.bundleFile, 'utf8')).to.include('CERTIFICATE')
    })

  it('takes an RSA identity byte for byte as it was signed', async () => {
    openssl([
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      at('ca.key'),
      '-out',
      at('ca.pem'),
      '-subj',
      '/CN=ca',
      '-days',
      '2',
      '-addext',
      'basicConstraints=critical,CA:true',
      '-addext',
      'keyUsage=critical,keyCertSign',
    ])
    openssl([
      'req',
      '-new',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      at('a.key'),
      '-out',
      at('a.csr'),
      '-subj',
      '/CN=a',
    ])
    writeFileSync(
      at('ext'),
      'subjectAltName=URI:spiffe://a.test/cluster/c/agent/a\nextendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n',
    )
    openssl([
      'x509',
      '-req',
      '-in',
      at('a.csr'),
      '-CA',
      at('ca.pem'),
      '-CAkey',
      at('ca.key'),
      '-days',
      '2',
      '-extfile',
      at('ext'),
      '-out',
      at('a.pem'),
    ])
    openssl([
      'pkcs12',
      '-export',
      '-legacy',
      '-inkey',
      at('a.key'),
      '-in',
      at('a.pem'),
      '-certfile',
      at('ca.pem'),
      '-passout',
      `file:${at('pass')}`,
      '-out',
      at('id.p12'),
    ])
    const { status, stderr } = await run()
    expect([status, stderr]).to.deep.equal([0, ''])
    const strip = (path: string): string => readFileSync(path, 'utf8').replace(/\s/g, '')
    expect(strip(at('out/agent.pem'))).to.equal(strip(at('a.pem')))
  })

  it('writes nothing of what a handshake would refuse, or cannot be read', async () => {
    await p12([], CALLER)
    const wrongRole = await run()
    expect([wrongRole.status, wrongRole.stderr.includes('role')]).to.deep.equal([78, true])
    await p12([])
    writeFileSync(at('pass'), 'another one\n', { mode: 0o600 })
    const wrong = await run()
    expect([wrong.status, wrong.stderr]).to.satisfy(
      ([status, text]: [number, string]) => status === 65 && text.includes('[PKCS12_UNREADABLE]'),
    )
    expect(wrong.stderr).to.include('the passphrase does not open it')
    for (const bytes of [
      Buffer.from('garbage'),
      Buffer.alloc(0),
      readFileSync(at('id.p12')).subarray(0, 200),
    ]) {
      writeFileSync(at('id.p12'), bytes)
      expect((await run()).stderr).to.include('[PKCS12_UNREADABLE]')
    }
    expect(() => statSync(at('out'))).to.throw('ENOENT')
    const foreign = await TestPki.create()
    writeFileSync(at('pass'), `${PASSPHRASE}\n`, { mode: 0o600 })
    await p12([])
    const noRoot = await run('--roots', foreign.bundleFile)
    expect([noRoot.status, noRoot.stderr.includes('leads to no root')]).to.deep.equal([78, true])
  })
})
