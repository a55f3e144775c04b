import { expect } from 'chai'
import { createPublicKey } from 'node:crypto'
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import { bundlesSince } from '../../src/agent/proof-client.ts'
import { Diagnostics, RpcError, type GatewayClient } from '../../src/client.ts'
import { Authority } from '../../src/identity/authority.ts'
import { readAuthority } from '../../src/identity/authority-files.ts'
import { certificatesIn } from '../../src/identity/certificate-files.ts'
import { readBundle, signBundle } from '../../src/identity/trust-bundle.ts'
import { codeOf, rejection } from '../support/code-of.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { openssl, runTool } from '../support/openssl.ts'
import type { CliRun } from '../support/run-cli.ts'

const AGENTS = 20
const WORKERS = 8

interface Status {
  readonly phase: string
  readonly bundleVersion: number
  readonly pins: readonly string[]
  readonly stragglers: readonly { readonly identity: string; readonly reason: string }[]
}

describe('a change of CA', function () {
  this.timeout(120_000)
  let plane: ControlPlane
  let root: string
  let newRoot: string

  beforeEach(async () => {
    plane = await ControlPlane.start({ 'ca.renewSpread': '1s' })
    root = join(plane.folder, 'cp/root')
    newRoot = join(plane.folder, 'new-root')
  })
  let stopLoad: (() => Promise<object>) | undefined
  afterEach(async () => {
    await stopLoad?.()
    stopLoad = undefined
    plane.stop()
  })

  const ca = async (...args: readonly string[]): Promise<Status> => {
    const { status, stdout, stderr } = await plane.command('ca', ...args, '--json')
    if (status !== 0) throw new Error(stderr)
    return JSON.parse(stdout) as Status
  }
  const refused = async (...args: readonly string[]): Promise<string> => {
    const { status, stderr }: CliRun = await plane.command('ca', ...args)
    expect([status, stderr]).to.satisfy(
      ([exit, text]: [number, string]) => exit === 1 && text.includes('[CA_STEP_REFUSED]'),
      stderr,
    )
    return stderr
  }
  const isUp = (of: Agent) =>
    eventually(() => of.tunnel.state.name === 'ready', 'the tunnel is up', 20_000)
  const whenReady = async (): Promise<Status> =>
    await eventually(
      async () => {
        const found = await ca('status')
        return found.stragglers.length === 0 ? found : undefined
      },
      'nobody is left behind',
      30_000,
    )
  const echo = async (client: GatewayClient, cluster: string): Promise<void> => {
    await client.cluster(cluster).service(Diagnostics).echo({}, { timeoutMs: 20_000 })
  }

  it(`walks ${String(AGENTS)} agents to another root under load, over a restart of the gateway, and fails no call`, async () => {
    const names = Array.from({ length: AGENTS }, (_, i) => `a-${String(i)}`)
    for (const name of [...names, 'sleeper', 'long-sleeper'])
      await plane.enrol(name, { cluster: `c-${name}` })
    const agents = names.map((name) => plane.startAgent(name))
    for (const agent of agents) await isUp(agent)
    let client = await plane.connect('before')
    const load = startLoad(() => client, names)
    stopLoad = load.stop

    expect((await ca('prepare', '--root', root, '--new-root', newRoot)).phase).to.equal('prepared')
    await eventually(
      async () => (await ca('status')).stragglers.length === 2,
      'all who are awake hold the bundle',
    )
    // The sleepers have a live certificate and do not hold it.
    const text = await refused('activate')
    expect(text).to.include('c-sleeper/sleeper').and.to.include('holds trust bundle 0')
    expect((await ca('activate', '--force')).phase).to.equal('activated')
    const pin = readAuthority(newRoot, 'root').pin
    const issuers = () =>
      agents.filter(
        ({ credential }) =>
          certificatesIn(credential.certificatePem)[1]?.issuer.key ===
          certificatesIn(readFileSync(join(newRoot, 'root.pem'), 'utf8'))[0]?.subject.key,
      ).length
    await eventually(() => issuers() === AGENTS, 'all have renewed under the new CA', 30_000)

    const sleeper = plane.startAgent('sleeper')
    await isUp(sleeper)
    expect(await refused('retire')).to.include('caller/before')
    // Calls in flight end first; who has not begun waits for the next gateway.
    await load.pause()
    await plane.gateway.drain()
    await plane.startGateway({ 'ca.renewSpread': '1s', ...plane.sameAddresses })
    client = await plane.connect('after')
    load.resume()
    for (const agent of agents) await isUp(agent)

    const { stdout } = await plane.command('certs', 'list', '--json')
    const rows = JSON.parse(stdout) as { serial: string; identity: string }[]
    const before = rows.find(({ identity }) => identity === 'caller/before')?.serial ?? ''
    await plane.command('certs', 'revoke', before)
    await eventually(
      async () =>
        (await ca('status')).stragglers.every(({ identity }) => identity.includes('long')),
      'only the long sleeper is left',
      30_000,
    )
    expect(await refused('retire')).to.include('c-long-sleeper/long-sleeper')
    const retired = await ca('retire', '--force')
    expect([retired.phase, retired.pins]).to.deep.equal(['standby', [pin]])
    await eventually(
      () => agents.every(({ keeper }) => keeper.roots.length === 1),
      'all trust the new root alone',
      30_000,
    )
    // Slept through all of it: the gateway's chain says nothing to it, the signed bundles do.
    const late = plane.startAgent('long-sleeper')
    expect(late.keeper.bundleVersion).to.equal(0)
    await eventually(() => late.keeper.bundleVersion === retired.bundleVersion, 'it has caught up')
    await new Promise((resolve) => setTimeout(resolve, 500))
    const { calls, failures } = await load.stop()
    expect(failures).to.deep.equal([])
    expect(calls).to.be.greaterThan(1000)
  })

  it('of the issuing CAs alone keeps root and pin, and can be undone step by step', async () => {
    await plane.enrol('a-1')
    const agent = plane.startAgent('a-1')
    await isUp(agent)
    const { pins } = await ca('status')
    await refused('rollback')
    await refused('retire')
    const prepared = await ca('prepare', '--root', root)
    expect(prepared.pins).to.deep.equal(pins)
    await refused('prepare', '--root', root)
    await whenReady()
    expect((await ca('rollback')).phase).to.equal('standby')
    await ca('prepare', '--root', root)
    await whenReady()
    await ca('activate')
    const issuerOf = () =>
      certificatesIn(agent.credential.certificatePem)[0]?.extensions.authorityKeyId?.keyId
    const keyIdIn = (folder: string) =>
      readAuthority(join(plane.folder, 'cp/ca', folder), 'agents').keyId
    // The third: the first preparation, which made the second, was undone.
    const [first, third] = [keyIdIn(''), keyIdIn('generation-3')]
    await eventually(() => issuerOf() === third, 'it has renewed', 20_000)
    // Back: the agent goes back too, before the preparation can be undone.
    expect((await ca('rollback')).phase).to.equal('prepared')
    expect(await refused('rollback')).to.include('c-1/a-1')
    await eventually(() => issuerOf() === first, 'it has renewed under the old CA', 20_000)
    await whenReady()
    await ca('activate')
    await eventually(() => issuerOf() === third, 'and under the new one', 20_000)
    await whenReady()
    expect((await ca('retire')).phase).to.equal('standby')
    expect((await ca('rollback')).phase).to.equal('activated')
    await whenReady()
    await ca('retire')
    expect(agent.tunnel.state.name).to.equal('ready')
  })

  it('with a certificate of a retired CA lets nobody in', async () => {
    await plane.enrol('a-1')
    await ca('prepare', '--root', root)
    await ca('activate', '--force')
    await ca('retire', '--force')
    const agent = plane.startAgent('a-1', { 'identity.enrollUrl': 'https://localhost:1' })
    await eventually(() => {
      const { state } = agent.tunnel
      return state.name === 'backoff' && state.cause.code === 'IDENTITY_REVOKED'
    }, 'it is refused')
  })

  it('left in the middle of a step by a crash has not begun, and goes on', async () => {
    // Complete on disk, and no transaction: as if killed before it.
    const [from, to] = ['agents', 'gateways'].map((name) =>
      join(plane.folder, 'cp/ca', `${name}.pem`),
    )
    cpSync(from ?? '', join(plane.folder, 'cp/ca/generation-2/agents.pem'))
    writeFileSync(join(plane.folder, 'cp/ca/generation-2/gateways.pem'), readFileSync(to ?? ''))
    const made = await Authority.createRoot('made before', {
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
    })
    expect((await ca('status')).phase).to.equal('standby')
    await ca('prepare', '--root', root, '--new-root', newRoot)
    expect(existsSync(join(plane.folder, 'cp/ca/generation-2/agents.key'))).to.equal(true)
    expect(made.pin).not.to.equal((await ca('status')).pins[1])
    // The state outlives the gateway.
    plane.gateway.stop()
    await plane.startGateway()
    expect((await ca('status')).phase).to.equal('prepared')
  })

  it('is not made by a root that is another, nor without its key', async () => {
    await ca('prepare', '--root', root, '--new-root', newRoot)
    await ca('rollback')
    expect(await refused('prepare', '--root', newRoot)).to.include('not that of the active CA')
    const nothing = await plane.command('ca', 'prepare', '--root', join(plane.folder, 'nowhere'))
    expect(nothing.status).to.equal(66)
  })

  it('is taken by agents only with the signature of a root that they trust', async () => {
    await plane.enrol('a-1')
    const agent = plane.startAgent('a-1')
    await isUp(agent)
    const validity = {
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
    }
    const hostile = await Authority.createRoot('hostile', validity)
    const ours = readAuthority(root, 'root')
    const body = {
      trustDomain: DOMAIN,
      version: 7,
      roots: [hostile.der],
      issuing: [],
      madeAtMs: Date.now(),
    }
    const roots = agent.keeper.roots
    await rejection(agent.keeper.adopt([signBundle(body, [hostile])]), 'BUNDLE_REFUSED')
    const cases: readonly (readonly [string, Uint8Array])[] = [
      ['garbage', Buffer.from('garbage')],
      ['too large', Buffer.alloc(100_000)],
      ['another domain', signBundle({ ...body, trustDomain: 'x.test' }, [ours])],
      ['no root', signBundle({ ...body, roots: [] }, [ours])],
      ['a root that is no CA', signBundle({ ...body, roots: [await leafOf(ours)] }, [ours])],
      ['a root that is garbage', signBundle({ ...body, roots: [Buffer.from('x')] }, [ours])],
      ['too many', signBundle({ ...body, issuing: Array(17).fill(ours.der) as Buffer[] }, [ours])],
    ]
    for (const [what, bytes] of cases)
      expect(
        codeOf(() => readBundle(bytes, roots, DOMAIN), 'BUNDLE_REFUSED').message,
        what,
      ).to.be.a('string')
    // Signed, but the gateway is not under the root that is left: tried on a tunnel, and not kept.
    const dropping = signBundle(body, [ours])
    await agent.keeper.adopt([dropping]).then(
      () => expect.fail('it was taken'),
      () => undefined,
    )
    expect(agent.keeper.bundleVersion).to.equal(0)
    expect(agent.tunnel.state.name).to.equal('ready')
    // An older one than the one held is left, whoever signed it.
    const wide = { ...body, roots: [ours.der, hostile.der] }
    expect(await agent.keeper.adopt([signBundle(wide, [ours])])).to.equal(7)
    expect(await agent.keeper.adopt([signBundle({ ...wide, version: 6 }, [ours])])).to.equal(7)
    agent.stop()
    expect(plane.makeAgent('a-1').keeper.bundleVersion).to.equal(7)
  })

  it('makes CAs, cross certificates and leaves that OpenSSL takes in its strict mode, from old root and new', async () => {
    await plane.enrol('a-1')
    await ca('prepare', '--root', root, '--new-root', newRoot)
    await ca('activate', '--force')
    const { own } = plane.gateway
    await eventually(
      () => own.credential.certificatePem.includes(pemOf('generation-2/gateways-cross.pem')),
      'the gateway serves the cross certificate',
    )
    const leaf = join(plane.folder, 'leaf.pem')
    writeFileSync(leaf, own.credential.certificatePem)
    const verify = (rootFile: string, untrusted: string) =>
      openssl([
        'verify',
        '-x509_strict',
        '-purpose',
        'sslserver',
        '-CAfile',
        rootFile,
        '-untrusted',
        join(plane.folder, 'cp/ca', untrusted),
        leaf,
      ]).output
    expect(verify(join(root, 'root.pem'), 'generation-2/gateways-cross.pem')).to.include('OK')
    expect(verify(join(newRoot, 'root.pem'), 'generation-2/gateways.pem')).to.include('OK')
    const chain = [leaf, join(newRoot, 'root.pem')].map((path) => readFileSync(path, 'utf8'))
    expect(chain[0]?.split('BEGIN')).to.have.lengthOf(3)
    const checked = runTool('certtool', [
      '--verify',
      '--load-ca-certificate',
      join(root, 'root.pem'),
      '--infile',
      leaf,
    ])
    expect(checked.output).to.include('The certificate is trusted')
  })

  it('publishes its bundles for who cannot verify the gateway any more', async () => {
    const url = new URL(plane.enrollUrl)
    expect(await bundlesSince(url, 0)).to.deep.equal([])
    await ca('prepare', '--root', root, '--new-root', newRoot)
    await plane.gateway.admission?.look()
    expect(await bundlesSince(url, 0)).to.have.lengthOf(1)
    expect(await bundlesSince(url, 1)).to.deep.equal([])
  })

  const pemOf = (name: string): string =>
    readFileSync(join(plane.folder, 'cp/ca', name), 'utf8').trim()

  async function leafOf(authority: Authority): Promise<Buffer> {
    const made = await Authority.createRoot('x', {
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
    })
    const certificate = await authority.issue(createPublicKey(made.key), {
      commonName: 'x',
      uris: [],
      usage: [],
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e9),
    })
    return Buffer.from(certificate.rawData)
  }

  /** Calls one cluster after another, again and again, until it is stopped. */
  function startLoad(clientOf: () => GatewayClient, names: readonly string[]) {
    const failures: string[] = []
    let calls = 0
    let isOver = false
    let gate: ReturnType<typeof Promise.withResolvers<undefined>> | undefined
    let waiting = 0
    const worker = async (index: number): Promise<void> => {
      for (let i = index; !isOver; i++) {
        if (gate !== undefined) {
          waiting++
          await gate.promise
          waiting--
        }
        try {
          await echo(clientOf(), `c-${names[i % names.length] ?? ''}`)
          calls++
        } catch (error) {
          // Not started at the other end: it may be sent again, and is.
          if (!(error instanceof RpcError && error.notStarted)) failures.push(String(error))
        }
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
    const running = Promise.all(Array.from({ length: WORKERS }, (_, index) => worker(index)))
    return {
      pause: async (): Promise<void> => {
        gate = Promise.withResolvers<undefined>()
        await eventually(() => waiting === WORKERS, 'no call is under way', 20_000)
      },
      resume: (): void => {
        const { resolve } = gate ?? {}
        gate = undefined
        resolve?.(undefined)
      },
      stop: async (): Promise<{ calls: number; failures: readonly string[] }> => {
        isOver = true
        await running
        return { calls, failures }
      },
    }
  }
})
