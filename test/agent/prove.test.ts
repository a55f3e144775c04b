import { expect } from 'chai'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gatewayExperiments } from '../../src/agent/prove/gateway-experiments.ts'
import { searchFor } from '../../src/agent/prove/machine-experiments.ts'
import { listSegments } from '../../src/audit/segments.ts'
import { liftLockdownOf, readLockdown, writeLockdown } from '../../src/agent/guard/guard.ts'
import { readCredential } from '../../src/identity/key-files.ts'
import { AGENT } from '../support/pki.ts'
import { eventually } from '../support/eventually.ts'
import { SealedStack } from '../support/sealed-stack.ts'
import { Stack } from '../support/stack.ts'

const MARKER = 'a-marker-of-nobody-else'

describe('the experiments of agent prove', function () {
  let stack: Stack
  afterEach(() => {
    stack.stop()
  })

  const outcomes = async (port: number): Promise<string[]> => {
    const files = await stack.pki.issue(AGENT)
    const settings = stack.agentSettings(files, { 'gateway.address': `127.0.0.1:${String(port)}` })
    const credential = readCredential(files, 'agent', Date.now())
    const found = await gatewayExperiments(settings, credential, Date.now())
    return found.map(({ outcome }) => outcome)
  }

  it('show that a gateway refuses what it should, and nothing of one that takes nobody', async () => {
    stack = await Stack.start()
    expect(await outcomes(stack.agentPort)).to.deep.equal(['PASS', 'PASS', 'PASS', 'PASS'])
    // A firewall, a load balancer with nothing behind it, a server of something else: all hang up, too.
    for (const hangUp of [
      (socket: Socket) => socket.end(),
      (socket: Socket) => socket.resetAndDestroy(),
      (socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    ]) {
      const server = createServer((socket) => {
        socket.on('error', () => undefined)
        hangUp(socket)
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      expect(await outcomes(port)).to.deep.equal(Array(4).fill('NOT SHOWN'))
      server.close()
    }
  })

  it('show by the rules alone that nobody can widen them', async () => {
    const at = await SealedStack.start()
    ;({ stack } = at)
    const widening = async (): Promise<string> => {
      const all = await at.agent.prover.run(MARKER, false)
      return all.find(({ name }) => name === 'widening')?.outcome ?? ''
    }
    expect(await widening()).to.equal('PASS')
    const rule = (callers: string): string =>
      `version: 1\nresidency: { gateways: [r-1] }\nrules: [{ name: x, callers: ["${callers}"], methods: ["*"] }]\n`
    const use = async (text: string): Promise<void> => {
      writeFileSync(at.policy, text)
      const before = at.agent.guard.guard.policy
      await eventually(() => at.agent.guard.guard.policy !== before, 'the policy is in force')
    }
    await use(rule('own'))
    expect(await widening()).to.equal('PASS')
    // A region that the stranger is not in would refuse it whatever the rules say.
    await use(rule('*'))
    expect(await widening()).to.equal('NOT SHOWN')
    await use(`${rule('own')}mode: observe\nobserveUntil: 2999-01-01\n`)
    expect(await widening()).to.equal('NOT SHOWN')
    await use(`${rule('own')}lockdown: for good\n`)
    expect(await widening()).to.equal('NOT SHOWN')
  })

  it('lift no lockdown but their own', async () => {
    const at = await SealedStack.start()
    ;({ stack } = at)
    const folder = join(stack.pki.folder, 'state')
    const run = async (): Promise<string> => {
      const all = await at.agent.prover.run(MARKER, true)
      return all.find(({ name }) => name === 'lockdown')?.outcome ?? ''
    }
    expect(await run()).to.equal('PASS')
    expect(readLockdown(folder)).to.equal(undefined)
    const theirs = { at: '2026-01-01T00:00:00Z', reason: 'an intrusion', tell: false }
    const ours = { ...theirs, reason: 'agent prove --all 12345678' }
    writeLockdown(folder, theirs)
    expect(await run()).to.equal('NOT SHOWN')
    expect(readLockdown(folder)?.reason).to.equal('an intrusion')
    liftLockdownOf(folder, ours)
    expect(readLockdown(folder)?.reason).to.equal('an intrusion')
    liftLockdownOf(folder, theirs)
    liftLockdownOf(folder, theirs)
    expect(readLockdown(folder)).to.equal(undefined)
  })

  it('are in the record when they are over', async () => {
    const at = await SealedStack.start()
    ;({ stack } = at)
    const record = join(stack.pki.folder, 'state/audit')
    const pushes = (): number =>
      listSegments(record)
        .map(({ path }) => readFileSync(path, 'utf8'))
        .join('')
        .split('"event":"push"').length - 1
    for (const runs of [1, 2, 3, 4, 5]) {
      await at.agent.prover.run(MARKER, false)
      expect(pushes()).to.equal(runs)
    }
  })

  it('take no CA of the vendor for one of the customer', async () => {
    stack = await Stack.start()
    const files = await stack.pki.issue(AGENT)
    const flags = { 'seal.callerCaFile': files.bundleFile }
    await stack.startAgent(flags).then(
      () => expect.fail('it started'),
      (error: unknown) => {
        expect(String(error)).to.include('CONFIG_INVALID').and.include("CA of the vendor's")
      },
    )
  })

  it('search whole files of any size, and say what they could not read', async () => {
    stack = await Stack.start()
    const folder = mkdtempSync(join(tmpdir(), 'postern-search-'))
    try {
      const path = join(folder, 'large')
      for (const at of [5, 4 * 1024 * 1024 - 7, 3 * 1024 ** 3]) {
        writeFileSync(path, '')
        truncateSync(path, at)
        writeFileSync(path, MARKER, { flag: 'a' })
        expect(searchFor(MARKER, [folder]).found, String(at)).to.deep.equal([path])
      }
      writeFileSync(path, 'nothing')
      expect(searchFor(MARKER, [folder])).to.deep.equal({ found: [], files: 1, unread: undefined })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
