import { expect } from 'chai'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readAuthority } from '../../src/identity/authority-files.ts'
import { certificatesIn } from '../../src/identity/certificate-files.ts'
import { CaSteps, isUp } from '../support/ca-steps.ts'
import { startLoad } from '../support/call-load.ts'
import type { ControlPlane } from '../support/control-plane.ts'
import { Daemons } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { openssl, runTool } from '../support/openssl.ts'

const AGENTS = 20

describe('a change of CA', function () {
  let steps: CaSteps
  let plane: ControlPlane
  let root: string
  let newRoot: string

  beforeEach(async () => {
    steps = await CaSteps.start()
    ;({ plane, root, newRoot } = steps)
  })
  let stopLoad: (() => Promise<object>) | undefined
  afterEach(async () => {
    await stopLoad?.()
    stopLoad = undefined
    plane.stop()
  })

  const ca = (...args: readonly string[]) => steps.ca(...args)
  const refused = (...args: readonly string[]) => steps.refused(...args)
  const whenReady = () => steps.whenReady()

  it(`walks ${String(AGENTS)} agents to another root under load, over a restart of the gateway, and fails no call`, async () => {
    const names = Array.from({ length: AGENTS }, (_, i) => `a-${String(i)}`)
    for (const name of [...names, 'sleeper', 'long-sleeper'])
      await plane.enroll(name, { cluster: `c-${name}` })
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
    await eventually(() => issuers() === AGENTS, 'all have renewed under the new CA')

    const sleeper = plane.startAgent('sleeper')
    await isUp(sleeper)
    expect(await refused('retire')).to.include('caller/before')
    // Calls in flight end first; what the old gateway has not started, the next one answers.
    await plane.gateway.drain()
    await plane.startGateway({ 'ca.renewSpread': '1s', ...plane.sameAddresses })
    client = await plane.connect('after')
    for (const agent of agents) await isUp(agent)

    const { stdout } = await plane.command('certs', 'list', '--json')
    const rows = JSON.parse(stdout) as { serial: string; identity: string }[]
    const before = rows.find(({ identity }) => identity === 'caller/before')?.serial ?? ''
    await plane.command('certs', 'revoke', before)
    await eventually(
      async () =>
        (await ca('status')).stragglers.every(({ identity }) => identity.includes('long')),
      'only the long sleeper is left',
    )
    expect(await refused('retire')).to.include('c-long-sleeper/long-sleeper')
    const retired = await ca('retire', '--force')
    expect([retired.phase, retired.pins]).to.deep.equal(['standby', [pin]])
    await eventually(
      () => agents.every(({ store }) => store.roots.length === 1),
      'all trust the new root alone',
    )
    // Slept through all of it: the gateway's chain says nothing to it, the signed bundles do.
    const late = plane.startAgent('long-sleeper')
    expect(late.store.trust.version).to.equal(0)
    await eventually(
      () => late.store.trust.version === retired.bundleVersion,
      'it has caught up, and renewed under the new CA',
    )
    expect([late.tunnel.state.name, late.store.roots.length]).to.deep.equal(['ready', 1])
    await new Promise((resolve) => setTimeout(resolve, 500))
    const { calls, resent, failures } = await load.stop()
    expect(failures).to.deep.equal([])
    expect(calls).to.be.greaterThan(1000)
    expect(resent, 'calls that met no gateway').to.be.greaterThan(0)
  })

  it('of the issuing CAs alone keeps root and pin, and can be undone step by step', async () => {
    await plane.enroll('a-1')
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
    const keyIdIn = (folder: string) => readAuthority(folder, 'agents').keyId
    // The third: the first preparation, which made the second, was undone.
    const [first, third] = [keyIdIn(join(plane.folder, 'cp/ca')), keyIdIn(steps.folderOf(3))]
    await eventually(() => issuerOf() === third, 'it has renewed')
    // Back: the agent goes back too, before the preparation can be undone.
    expect((await ca('rollback')).phase).to.equal('prepared')
    expect(await refused('rollback')).to.include('c-1/a-1')
    await eventually(() => issuerOf() === first, 'it has renewed under the old CA')
    await whenReady()
    await ca('activate')
    await eventually(() => issuerOf() === third, 'and under the new one')
    await whenReady()
    expect((await ca('retire')).phase).to.equal('standby')
    expect((await ca('rollback')).phase).to.equal('activated')
    await whenReady()
    await ca('retire')
    expect(agent.tunnel.state.name).to.equal('ready')
  })

  it('is made by one of two who step at once, and whole', async () => {
    const outcomes = await Promise.all(
      [1, 2].map(() => plane.command('ca', 'prepare', '--root', root)),
    )
    expect(outcomes.map(({ status }) => status).sort()).to.deep.equal([0, 1])
    expect(outcomes.map(({ stderr }) => stderr).join()).to.include('CA_STEP_REFUSED')
    await plane.enroll('a-1')
    const both = await Promise.all([1, 2].map(() => plane.command('ca', 'activate', '--force')))
    expect(both.map(({ status }) => status).sort()).to.deep.equal([0, 1])
    expect((await ca('status')).phase).to.equal('activated')
  })

  it('left in the middle of a step by a crash has not begun, goes on, and outlives the gateway', async () => {
    // Half on disk, and no transaction: as if killed before it.
    const folder = join(plane.folder, 'cp/ca')
    mkdirSync(join(folder, 'generation-2-killed'))
    writeFileSync(join(folder, 'generation-2-killed/agents.pem'), 'half')
    expect((await ca('status')).phase).to.equal('standby')
    await ca('prepare', '--root', root, '--new-root', newRoot)
    await ca('rollback')
    // The new root of the first try is taken again.
    const before = readFileSync(join(newRoot, 'root.pem'), 'utf8')
    const { pins } = await ca('prepare', '--root', root, '--new-root', newRoot)
    expect(readFileSync(join(newRoot, 'root.pem'), 'utf8')).to.equal(before)
    expect(pins).to.have.lengthOf(2)
    plane.gateway.stop()
    await plane.startGateway()
    expect((await ca('status')).phase).to.equal('prepared')
  })

  it('is whole after kill -9 at any moment of a step, and the same command goes on', async () => {
    const daemons = await Daemons.create()
    const run = (...args: string[]) =>
      daemons.start('gateway', 'ca', ...args, '--config', plane.configFile)
    try {
      for (const delayMs of [350, 450, 500, 550, 600, 650, 700, 800]) {
        const child = run('prepare', '--root', root, '--new-root', newRoot)
        await new Promise((resolve) => setTimeout(resolve, delayMs))
        child.process.kill('SIGKILL')
        await child.ended
        const { phase } = await ca('status')
        expect(phase).to.be.oneOf(['standby', 'prepared'])
        if (phase === 'prepared') await ca('rollback')
      }
      expect(await run('prepare', '--root', root, '--new-root', newRoot).ended).to.equal(0)
      expect(await run('activate', '--force').ended).to.equal(0)
      await plane.enroll('a-1')
      await isUp(plane.startAgent('a-1'))
    } finally {
      daemons.stop()
    }
  })

  it('is not made by a root that is another, nor without its key', async () => {
    await ca('prepare', '--root', root, '--new-root', newRoot)
    await ca('rollback')
    expect(await refused('prepare', '--root', newRoot)).to.include('not that of the active CA')
    const nothing = await plane.command('ca', 'prepare', '--root', join(plane.folder, 'nowhere'))
    expect(nothing.status).to.equal(66)
  })

  it('makes CAs, cross certificates and leaves that OpenSSL takes in its strict mode, from old root and new', async () => {
    await plane.enroll('a-1')
    await ca('prepare', '--root', root, '--new-root', newRoot)
    await ca('activate', '--force')
    const { own } = plane.gateway
    await eventually(
      () =>
        own.credential.certificatePem.includes(
          readFileSync(join(steps.folderOf(2), 'gateways-cross.pem'), 'utf8').trim(),
        ),
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
        join(steps.folderOf(2), untrusted),
        leaf,
      ]).output
    expect(verify(join(root, 'root.pem'), 'gateways-cross.pem')).to.include('OK')
    expect(verify(join(newRoot, 'root.pem'), 'gateways.pem')).to.include('OK')
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
})
