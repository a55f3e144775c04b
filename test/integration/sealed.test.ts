import { expect } from 'chai'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { duplexPair, PassThrough } from 'node:stream'
import { writeLockdown } from '../../src/agent/guard/guard.ts'
import { Relay } from '../../src/gateway/callers/relay.ts'
import { Diagnostics, type RpcError } from '../../src/client.ts'
import type { SealedCluster } from '../../src/caller/sealed-cluster.ts'
import { makeCrl } from '../../src/identity/make-crl.ts'
import { certificatePem, pemText } from '../../src/identity/pem.ts'
import { rejection } from '../support/code-of.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, CALLER } from '../support/pki.ts'
import { ShiftedClock } from '../support/shifted-clock.ts'
import { CustomerCa, sealingKey } from '../support/sealing.ts'
import { echo, SealedStack } from '../support/sealed-stack.ts'

describe('sealed calls', function () {
  let at: SealedStack
  afterEach(() => {
    at.stop()
  })

  const reason = (error: unknown): string => (error as RpcError).rawMessage
  const reasonOf = async (promise: Promise<unknown>): Promise<string> =>
    await promise.then(() => 'it passed', reason)

  /** A caller may make one call more before it hears that its session has ended. */
  const says = async (cluster: SealedCluster, text: string): Promise<void> => {
    await eventually(async () => (await reasonOf(echo(cluster, 'x'))).includes(text), text)
  }

  it('pass where both ends have pinned each other; the record says that the caller is known first-hand', async () => {
    at = await SealedStack.start()
    const cluster = at.cluster()
    expect(await echo(cluster, 'hello')).to.equal('hello')
    const messages: unknown[] = []
    const wanted = { messages: 3, messageBytes: 5 }
    for await (const one of cluster.service(Diagnostics).download(wanted)) messages.push(one)
    expect(messages.length).to.equal(3)
    expect(at.agent.report().seal.sessions).to.equal(1)
    at.client.close()
    const [call, opened] = at.lines()
    expect(call).to.deep.include({ caller: 'console', known: 'first-hand', sealed: true })
    expect(opened).to.deep.include({ method: 'postern.v1.Diagnostics/Download', sealed: true })
  })

  it('carry forwards, both ways, with half-closes', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('data', (bytes) => socket.write(bytes.toString().toUpperCase()))
      socket.on('end', () => socket.end('bye'))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const services = [
      { name: 'db', target: `tcp://127.0.0.1:${String(port)}`, dataType: 'service-traffic' },
    ]
    at = await SealedStack.start({ services: JSON.stringify(services) })
    const [near, far] = duplexPair()
    const ended = at.cluster().forward('db', far)
    near.end('abc')
    const chunks: Buffer[] = []
    for await (const chunk of near) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).to.equal('ABCbye')
    expect(await ended).to.deep.equal({ bytesIn: 6, bytesOut: 3 })
    server.close()
  })

  it('pass where a CA of the customer certifies both ends, and for no other cluster, CA, role, time or revoked key', async () => {
    const folder = (at = await SealedStack.start()).stack.pki.folder
    const ca = await CustomerCa.create(folder)
    const [ours, theirs] = [await ca.issue(AGENT), await ca.issue(CALLER)]
    at.stop()
    at = await SealedStack.start({
      'seal.keyFile': ours.keyFile,
      'seal.certificateFile': String(ours.certificateFile),
      'seal.callers': '[]',
      'seal.callerCaFile': ca.caFile,
    })
    const certified = { ...theirs, pins: [], caFile: ca.caFile }
    expect(await echo(at.cluster(certified), 'hello')).to.equal('hello')
    const other = await ca.issue({ ...AGENT, cluster: 'c-2' })
    const expired = await ca.issue(CALLER, -1000)
    const foreign = await CustomerCa.create(folder)
    for (const [files, why] of [
      [other, 'role'],
      [expired, 'CERT_EXPIRED'],
      [await foreign.issue(CALLER), 'was issued by no certificate'],
      [at.key, 'was issued by no certificate'],
    ] as const)
      expect(await reasonOf(echo(at.cluster({ ...certified, ...files }), 'x')), why).to.include(why)
    writeFileSync(ca.caFile, (await CustomerCa.create(folder)).authority.certificatePem)
    expect(await reasonOf(echo(at.cluster(certified), 'x'))).to.include('SEAL_REFUSED')
    const posing = await at.client
      .sealed('c-2', { ...theirs, pins: [at.pin] })
      .service(Diagnostics)
      .echo({})
      .catch(reason)
    expect(posing).to.include('CLUSTER_UNKNOWN')
  })

  it('end for a caller whose certificate is revoked, or whose pin is taken out', async () => {
    at = await SealedStack.start()
    const cluster = at.cluster()
    await echo(cluster, 'x')
    const settings = at.agent.settings
    await at.agent.reload(() => ({ ...settings, 'seal.callers': [] }))
    await eventually(() => at.agent.report().seal.sessions === 0, 'the session has ended')
    await says(cluster, 'knows no caller first-hand')
    const { folder } = at.stack.pki
    const ca = await CustomerCa.create(folder)
    await at.agent.reload(() => ({
      ...settings,
      'seal.callers': [],
      'seal.callerCaFile': ca.caFile,
    }))
    const theirs = await ca.issue(CALLER)
    const again = at.cluster(theirs)
    await echo(again, 'x')
    const crl = await makeCrl(ca.authority, {
      number: 1,
      thisUpdateMs: Date.now(),
      nextUpdateMs: Date.now() + 60_000,
      revoked: [{ serial: ca.lastSerial, atMs: Date.now() }],
    })
    writeFileSync(ca.caFile, certificatePem(ca.authority.der) + pemText('X509 CRL', crl))
    await eventually(() => at.agent.report().seal.sessions === 0, 'the session has ended')
    await says(again, 'revoked')
  })

  it('end at the caller when what it trusts has changed, and its calls wait no longer than they may', async () => {
    const folder = (at = await SealedStack.start()).stack.pki.folder
    const ca = await CustomerCa.create(folder)
    const ours = await ca.issue(AGENT)
    at.stop()
    at = await SealedStack.start({
      'seal.keyFile': ours.keyFile,
      'seal.certificateFile': String(ours.certificateFile),
    })
    const cluster = at.cluster({ pins: [], caFile: ca.caFile })
    await echo(cluster, 'x')
    const ended = (async () => {
      const wanted = { messages: 1e6, intervalMs: 50 }
      for await (const one of cluster.service(Diagnostics).download(wanted))
        expect(one.payload.length).to.equal(0)
    })()
    const why = reasonOf(ended)
    const crl = await makeCrl(ca.authority, {
      number: 1,
      thisUpdateMs: Date.now(),
      nextUpdateMs: Date.now() + 60_000,
      revoked: [{ serial: ca.lastSerial, atMs: Date.now() }],
    })
    writeFileSync(ca.caFile, certificatePem(ca.authority.der) + pemText('X509 CRL', crl))
    expect(await why).to.include('CONNECTION_LOST')
    await says(cluster, 'revoked')
    // A gateway that passes the stream on to nobody can hold a caller up, and no call for longer than it may take.
    // eslint-disable-next-line @typescript-eslint/unbound-method -- it is put back as it was
    const { start } = Relay
    Relay.start = () => undefined
    try {
      const other = at.cluster({ pins: [at.pin] })
      const echo_ = other.service(Diagnostics)
      const late = echo_.echo({}, { timeoutMs: 100 }).catch((error: unknown) => error)
      expect(await late).to.deep.include({ status: 'DEADLINE_EXCEEDED', notStarted: true })
      const given = new AbortController()
      const gone = echo_.echo({}, { signal: given.signal }).catch((error: unknown) => error)
      given.abort()
      expect(await gone).to.deep.include({ status: 'CANCELLED', notStarted: true })
      other.close()
    } finally {
      Relay.start = start
    }
  })

  it('never fall back to calls that are not sealed', async () => {
    at = await SealedStack.start()
    const [stranger, another] = ['stranger', 'another'].map((name) =>
      sealingKey(at.stack.pki.folder, name),
    )
    expect(await reasonOf(echo(at.cluster({ pins: [another!.pin] }), 'x'))).to.include(
      'is not pinned',
    )
    expect(await reasonOf(echo(at.cluster(stranger), 'x'))).to.include('is not pinned')
    expect(await reasonOf(echo(at.client.cluster('c-1'), 'x'))).to.include('may not use')
    const socket = new PassThrough()
    await rejection(at.cluster(stranger).forward('db', socket), 'SEAL_REFUSED')
    expect(socket.destroyed).to.equal(true)
    at.client.close()
    const refused = at.lines().map(({ known, method, code }) => [known, method, code])
    expect(refused.slice(0, 2)).to.deep.equal([
      ['gateway', 'sealed session', 'SEAL_REFUSED'],
      ['gateway', 'postern.v1.Diagnostics/Echo', 'POLICY_DENIED'],
    ])
  })

  it('fall with a lockdown, at once, and none begins', async () => {
    at = await SealedStack.start()
    const cluster = at.cluster()
    const stream = cluster
      .service(Diagnostics)
      .download({ messages: 1000, messageBytes: 1, intervalMs: 50 })
    const running = (async () => {
      let count = 0
      for await (const one of stream) count += one.payload.length
      return String(count)
    })().catch(reason)
    await eventually(() => at.agent.report().seal.sessions === 1, 'the stream runs')
    const folder = at.agent.settings['state.directory']
    writeLockdown(folder, { at: '', reason: 'drill', tell: false })
    at.agent.guard.lookForLockdown()
    expect(at.agent.report().seal.sessions).to.equal(0)
    expect(await running).to.include('the customer has locked this agent down')
    await says(cluster, 'LOCKED_DOWN')
  })

  it('share a session, and make another when it has ended', async () => {
    at = await SealedStack.start()
    const cluster = at.cluster()
    await Promise.all(Array.from({ length: 50 }, (_none, i) => echo(cluster, String(i))))
    expect(at.agent.report().seal.sessions).to.equal(1)
    await at.agent.tunnels.replace()
    await eventually(() => at.agent.report().seal.sessions === 0, 'it ends with the old tunnel')
    await eventually(
      async () => (await echo(cluster, 'x').catch(() => '')) === 'x',
      'calls pass again',
    )
  })

  it('go over to another session before a certificate ends, and lose no call', async () => {
    at = await SealedStack.start()
    const ca = await CustomerCa.create(at.stack.pki.folder)
    const settings = at.agent.settings
    await at.agent.reload(() => ({ ...settings, 'seal.callerCaFile': ca.caFile }))
    const soon = await ca.issue(CALLER, 120_000)
    const clock = new ShiftedClock()
    const client = await at.stack.connect(undefined, clock)
    const cluster = client.sealed('c-1', { ...soon, pins: [at.pin] })
    const slow = cluster
      .service(Diagnostics)
      .download({ messages: 20, messageBytes: 1, intervalMs: 20 })
    const counted = (async () => {
      let count = 0
      for await (const one of slow) count += one.payload.length
      return count
    })()
    await echo(cluster, 'x')
    clock.shift(70_000)
    await echo(cluster, 'x')
    expect(at.agent.report().seal.sessions).to.equal(2)
    expect(await counted).to.equal(20)
    await eventually(() => at.agent.report().seal.sessions === 1, 'the first one has drained')
  })

  it('hold up no drain: an idle session ends at once, a running call first comes to its end', async () => {
    at = await SealedStack.start({ 'drain.grace': '10m' })
    const cluster = at.cluster()
    const slow = cluster
      .service(Diagnostics)
      .download({ messages: 10, messageBytes: 1, intervalMs: 30 })
    let count = 0
    const counted = (async () => {
      for await (const one of slow) count += one.payload.length
      return count
    })()
    await eventually(() => count > 0, 'the stream runs')
    await at.agent.drain()
    expect(await counted).to.equal(10)
  })

  it('tell the region of a caller first-hand; others have the one that the gateway has verified', async () => {
    at = await SealedStack.start()
    const ca = await CustomerCa.create(at.stack.pki.folder)
    const { settings } = at.agent
    writeFileSync(
      at.policy,
      'version: 1\nresidency: { callers: [eu] }\nrules: [{ name: all, callers: ["*"], methods: ["*"] }]\n',
    )
    await at.agent.reload(() => ({ ...settings, 'seal.callerCaFile': ca.caFile }))
    const from = async (region: string | undefined): Promise<string> => {
      const identity = region === undefined ? CALLER : { ...CALLER, region }
      const client = await at.stack.connect(await at.stack.pki.issue(identity))
      return await reasonOf(echo(client.cluster('c-1'), 'x'))
    }
    expect(await from('eu-west-1')).to.equal('it passed')
    expect(await from('eu-west-2')).to.include('is not allowed')
    expect(await from(undefined)).to.include('is not proven')
    const sealed = async (region: string): Promise<string> =>
      await reasonOf(
        echo(at.cluster({ ...(await ca.issue({ ...CALLER, region })), pins: [at.pin] }), 'x'),
      )
    expect(await sealed('eu-central')).to.equal('it passed')
    expect(await sealed('us-east')).to.include('is not allowed')
    at.client.close()
    const regions = at.lines().map(({ callerRegion = null }) => callerRegion)
    expect(regions).to.deep.equal(['eu-west-1', 'eu-west-2', null, 'eu-central', 'us-east'])
  })
})
