import { expect } from 'chai'
import { createPublicKey, X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { operatorOffers } from '../../src/agent/control/control.ts'
import type { Agent } from '../../src/agent/agent.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { KeyProtection } from '../../src/identity/key-protection.ts'
import { KEY_KINDS, type KeyKind } from '../../src/identity/keys.ts'
import { AMBIENT } from '../support/ambient.ts'
import { LocalServer } from '../../src/tunnel/local-rpc.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { openssl, runTool } from '../support/openssl.ts'
import { runCli, type CliRun } from '../support/run-cli.ts'

const PASSPHRASE = 'correct horse'

describe('agent certs', function () {
  let plane: ControlPlane
  let config: string

  beforeEach(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
    config = write({})
  })
  afterEach(() => {
    plane.stop()
  })

  function write(more: object, name = 'a-1'): string {
    const path = join(plane.folder, `agent-${name}.yaml`)
    const settings = {
      gateway: { address: `localhost:${String(plane.addresses.agents.port)}` },
      trustDomain: DOMAIN,
      state: { directory: plane.stateOf(name) },
      status: { socket: join(plane.folder, 'agent.sock') },
      ...more,
    }
    writeFileSync(path, JSON.stringify(settings))
    return path
  }
  const certs = async (...args: readonly string[]): Promise<CliRun> =>
    await runCli('agent', ['certs', ...args, '--config', config])
  const leaf = (): X509Certificate =>
    new X509Certificate(readFileSync(join(plane.stateOf('a-1'), 'current/chain.pem')))
  async function startDaemon(): Promise<{ agent: Agent; socket: LocalServer }> {
    const agent = plane.startAgent('a-1')
    const socket = new LocalServer(join(plane.folder, 'agent.sock'), AMBIENT)
    const ports = { agent, clock: systemClock, reload: () => agent.reload(), recentLog: () => [] }
    for (const offer of operatorOffers(ports)) socket.server.offer(offer)
    await socket.listen()
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
    return { agent, socket }
  }

  it('renew by the daemon, which goes over to the new certificate, and say what has changed', async () => {
    const { agent, socket } = await startDaemon()
    const before = leaf()
    const { status, stdout } = await certs('renew')
    expect(status).to.equal(0)
    const after = leaf()
    expect(stdout).to.include(
      `${before.serialNumber.toLowerCase()} -> ${after.serialNumber.toLowerCase()}`,
    )
    expect(after.publicKey.equals(before.publicKey)).to.equal(false)
    await eventually(() => plane.gateway.registry.tunnelCount > 0, 'a tunnel')
    expect(agent.tunnel.state.name).to.equal('ready')
    const json = JSON.parse((await certs('renew', '--json')).stdout) as { serialBefore: string }
    expect(json.serialBefore).to.equal(after.serialNumber.toLowerCase())
    socket.close()
  })

  it('renew without the daemon, and tell a refusal by its exit status', async () => {
    const before = leaf().serialNumber
    const { status, stderr } = await certs('renew')
    expect([status, stderr]).to.satisfy(
      ([exit, text]: [number, string]) => exit === 0 && text.includes('renewing without it'),
      stderr,
    )
    expect(leaf().serialNumber).not.to.equal(before)
    await plane.command('certs', 'revoke', '--cluster', 'c-1')
    await plane.gateway.access?.refresh()
    const refused = await certs('renew')
    expect(refused.status).to.equal(77)
    expect(refused.stderr).to.include('[IDENTITY_REVOKED]')
  })

  it('change to a key of another kind, and keep it at the next renewal', async () => {
    const { socket } = await startDaemon()
    for (const kind of ['ed25519', 'p384'] as const) {
      expect((await certs('rotate-key', '--key', kind)).stdout).to.include('new')
      await certs('renew')
      const { asymmetricKeyType, asymmetricKeyDetails } = leaf().publicKey
      const found = asymmetricKeyDetails?.namedCurve ?? asymmetricKeyType
      expect(found).to.equal(kind === 'p384' ? 'secp384r1' : 'ed25519')
    }
    expect((await certs('rotate-key', '--key', 'dsa')).status).to.equal(64)
    socket.close()
  })

  it('renew nothing that somebody else manages', async () => {
    const at = (name: string) => join(plane.stateOf('a-1'), 'current', name)
    config = write({
      identity: {
        source: 'files',
        certificateFile: at('chain.pem'),
        keyFile: at('key.pem'),
        bundleFile: at('bundle.pem'),
      },
    })
    const { status, stderr } = await certs('renew')
    expect(status).to.equal(77)
    expect(stderr).to.include('somebody else manages the certificate')
  })

  it('keep every key encrypted where there is a passphrase, first and renewed ones (Boundary CVE-2023-0690)', async () => {
    await plane.enroll('a-2', { protection: new KeyProtection(PASSPHRASE) })
    const passphrase = join(plane.folder, 'passphrase')
    writeFileSync(passphrase, PASSPHRASE, { mode: 0o600 })
    config = write({ identity: { passphraseFile: passphrase } }, 'a-2')
    const before = await runCli('agent', ['certs', 'show', '--config', config])
    expect((await certs('renew')).status).to.equal(0)
    expect((await runCli('agent', ['certs', 'show', '--config', config])).stdout).not.to.equal(
      before.stdout,
    )
    const state = plane.stateOf('a-2')
    for (const name of readdirSync(state, { recursive: true, encoding: 'utf8' })) {
      if (!statSync(join(state, name)).isFile()) continue
      const text = readFileSync(join(state, name), 'latin1')
      expect(text, name).not.to.match(/BEGIN (EC |RSA )?PRIVATE KEY/)
    }
    config = write({}, 'a-2')
    const locked = await certs('renew')
    expect([locked.status, locked.stderr]).to.satisfy(
      ([exit, text]: [number, string]) => exit === 78 && text.includes('[KEY_LOCKED]'),
      locked.stderr,
    )
    config = write({ identity: { passphraseCommand: ['printf', PASSPHRASE] } }, 'a-2')
    expect((await certs('renew')).status).to.equal(0)
    const credentials = join(plane.folder, 'credentials')
    runTool('mkdir', [credentials])
    writeFileSync(join(credentials, 'key-passphrase'), PASSPHRASE, { mode: 0o400 })
    config = write({}, 'a-2')
    const args = ['certs', 'renew', '--config', config]
    const handed = await runCli('agent', args, { CREDENTIALS_DIRECTORY: credentials })
    expect(handed.status).to.equal(0)
  })

  it('export every kind of key as PKCS#12 that OpenSSL and Java read', async () => {
    const passphrase = join(plane.folder, 'p12-passphrase')
    writeFileSync(passphrase, `${PASSPHRASE}\n`, { mode: 0o600 })
    const p12 = join(plane.folder, 'agent.p12')
    for (const kind of KEY_KINDS) {
      expect((await certs('rotate-key', '--key', kind)).status, kind).to.equal(0)
      const out = await certs('export', '--p12', p12, '--passphrase-file', passphrase)
      expect([out.status, out.stderr], kind).to.deep.equal([0, ''])
      expect(statSync(p12).mode & 0o077).to.equal(0)
      expectReadable(p12, kind)
    }
    writeFileSync(passphrase, 'short')
    const short = await certs('export', '--p12', p12, '--passphrase-file', passphrase)
    expect(short.status).to.equal(64)
  })

  function expectReadable(p12: string, kind: KeyKind): void {
    const read = (...more: string[]) =>
      openssl(['pkcs12', '-in', p12, '-passin', `pass:${PASSPHRASE}`, ...more]).output
    const key = createPublicKey(read('-nocerts', '-nodes'))
    expect(key.equals(leaf().publicKey), kind).to.equal(true)
    expect(read('-nokeys').split('BEGIN CERTIFICATE')).to.have.lengthOf(4)
    const info = read('-info', '-noout')
    expect(info).to.include('MAC: sha256').and.to.include('PBES2, PBKDF2, AES-256-CBC')
    const store = ['-keystore', p12, '-storetype', 'PKCS12', '-storepass', PASSPHRASE]
    const listed = runTool('keytool', ['-list', '-v', ...store]).output
    expect(listed, kind).to.include('PrivateKeyEntry').and.to.include('chain length: 3')
  }

  it('verify files, chain, time, gateway, clock and verdict, step by step', async () => {
    const fine = await certs('verify')
    expect([fine.status, fine.stderr]).to.deep.equal([0, ''])
    for (const step of ['files', 'chain', 'validity', 'gateway', 'clock', 'verdict'])
      expect(fine.stdout).to.match(new RegExp(`OK +${step} `))
    await plane.command('certs', 'revoke', '--cluster', 'c-1')
    await plane.gateway.access?.refresh()
    const revoked = await certs('verify', '--json')
    expect(revoked.status).to.equal(1)
    const { steps } = JSON.parse(revoked.stdout) as {
      steps: { name: string; outcome: string; fix?: string }[]
    }
    expect(steps.find(({ name }) => name === 'verdict')).to.include({ outcome: 'FAIL' })
    writeFileSync(join(plane.stateOf('a-1'), 'current/chain.pem'), 'nonsense')
    const broken = await certs('verify')
    expect(broken.status).to.equal(1)
    expect(broken.stdout).to.match(/FAIL +files .*CERTIFICATE_UNUSABLE[^]*->/)
    expect((await certs('verify', '--roots', 'x')).status).to.equal(64)
    expect((await certs('verify', '--leaf', 'x')).status).to.equal(64)
  })
})
