import { expect } from 'chai'
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeState } from '../../src/identity/state-files.ts'
import { codeOf } from '../support/code-of.ts'
import { openssl } from '../support/openssl.ts'
import { runCli } from '../support/run-cli.ts'

describe('gateway init and tokens', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-init-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  const at = (name: string): string => join(folder, 'cp', name)
  const init = (...more: readonly string[]) =>
    runCli('gateway', [
      'init',
      '--dir',
      join(folder, 'cp'),
      '--trust-domain',
      'example.org',
      '--dns',
      'gw.example.org',
      ...more,
    ])
  const tokens = (...args: readonly string[]) =>
    runCli('gateway', ['tokens', ...args, '--config', at('gateway.yaml')])

  it('make a hierarchy that OpenSSL accepts, keys for the owner alone, and settings in order', async () => {
    const { status, stdout, stderr } = await init('--json')
    expect(status).to.equal(0)
    const { pin } = JSON.parse(stdout) as { pin: string }
    expect(stderr).to.include(`Take ${at('root')} off this machine`)
    const own = at('identity/current/chain.pem')
    const chain = ['-CAfile', at('bundle.pem'), '-untrusted', own, own]
    expect(
      openssl(['verify', '-x509_strict', '-purpose', 'sslserver', ...chain]).output,
    ).to.include('OK')
    for (const key of [
      'root/root.key',
      'ca/agents.key',
      'ca/gateways.key',
      'identity/current/key.pem',
    ])
      expect(statSync(at(key)).mode & 0o077, key).to.equal(0)
    const key = openssl(['x509', '-in', at('root/root.pem'), '-pubkey', '-noout']).stdout
    const der = openssl(['pkey', '-pubin', '-outform', 'DER'], key).stdout
    expect(pin).to.equal(`sha256:${openssl(['dgst', '-sha256', '-r'], der).output.slice(0, 64)}`)
    const check = await runCli('gateway', ['config', 'check', '--config', at('gateway.yaml')])
    expect([check.status, check.stderr]).to.deep.equal([0, ''])
  })

  it('overwrite nothing, and refuse names that are none', async () => {
    await init()
    const before = readFileSync(at('root/root.pem'), 'utf8')
    const again = await init()
    expect([again.status, again.stderr]).to.satisfy(
      ([status, text]: [number, string]) => status === 73 && text.includes('[STATE_EXISTS]'),
    )
    expect(readFileSync(at('root/root.pem'), 'utf8')).to.equal(before)
    for (const wrong of [
      ['--dns', 'no name'],
      ['--region', 'EU'],
      ['--trust-domain', 'Example.org'],
      ['--key', 'dsa'],
    ])
      expect((await init(...wrong)).status, wrong.join(' ')).to.equal(64)
  })

  it('create a token on stdout alone, list it without its secret, and revoke it', async () => {
    await init()
    const made = await tokens('create', '--cluster', 'c-1', '--ttl', '2h')
    expect(made.stdout).to.match(/^postern_\w{12}_[\w-]{43}_\w{8}$/)
    expect(made.stderr)
      .to.match(/CA pin sha256:[0-9a-f]{64}/)
      .and.not.include(made.stdout)
    const [row] = JSON.parse((await tokens('list', '--json')).stdout) as {
      id: string
      state: string
    }[]
    expect(row).to.include({ cluster: 'c-1', agent: null, usesLeft: 1, state: 'good' })
    const { stdout } = await tokens('list')
    expect(stdout).to.include(row?.id).and.not.include(made.stdout.slice(21, 64))
    expect((await tokens('revoke', row?.id ?? '')).status).to.equal(0)
    expect((await tokens('list')).stdout).to.include('revoked')
    const twice = await tokens('revoke', row?.id ?? '')
    expect([twice.status, twice.stderr]).to.satisfy(
      ([status, text]: [number, string]) => status === 1 && text.includes('[NOT_KNOWN]'),
    )
  })

  it('refuse tokens that make no sense', async () => {
    await init()
    for (const wrong of [
      ['--cluster', 'Not A Label'],
      ['--cluster', 'c-1', '--uses', '0'],
      ['--cluster', 'c-1', '--ttl', '30d'],
      ['--cluster', 'c-1', '--agent', 'a-1', '--uses', '2'],
    ])
      expect((await tokens('create', ...wrong)).status, wrong.join(' ')).to.equal(64)
  })

  it('replace a link that somebody put in the way, and follow none', () => {
    const [mine, theirs] = [join(folder, 'key'), join(folder, 'theirs')]
    writeFileSync(theirs, 'theirs')
    symlinkSync(theirs, mine)
    symlinkSync(theirs, join(folder, '.key.new'))
    writeState(mine, 'mine', 0o600)
    expect([readFileSync(mine, 'utf8'), readFileSync(theirs, 'utf8')]).to.deep.equal([
      'mine',
      'theirs',
    ])
    codeOf(() => {
      writeState(join(folder, 'missing', 'key'), 'mine', 0o600)
    }, 'STATE_UNWRITABLE')
  })
})
