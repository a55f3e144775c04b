import { expect } from 'chai'
import { Diagnostics, RpcError, type Client } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { eventually } from '../support/eventually.ts'
import { Fleet } from '../support/fleet.ts'

describe('two agents of one cluster', function () {
  let fleet: Fleet
  let gateway: GatewayClient

  beforeEach(async () => {
    fleet = await Fleet.start(1)
    gateway = await fleet.connect()
  })
  afterEach(() => {
    fleet.stop()
  })

  async function startBoth(flags: Readonly<Record<string, string>> = {}): Promise<void> {
    for (const name of ['a-1', 'a-2']) await fleet.startAgent(name, flags)
    await eventually(() => fleet.at(0).gateway.registry.tunnelCount === 2, 'both are there')
  }

  function running(index: number): number {
    return fleet.agents[index]?.services.server.runningCount ?? 0
  }

  /** Has one agent run a stream for good: a canary call may have its only place for a moment. Returns its end. */
  async function fill(
    diagnostics: Client<typeof Diagnostics>,
    endless: { messages: number; messageBytes: number; intervalMs: number },
    signal: AbortSignal,
  ): Promise<{ readonly held: Promise<void> }> {
    for (;;) {
      const over = { hasEnded: false }
      const held = (async () => {
        for await (const message of diagnostics.download(endless, { signal }))
          expect(message.payload.length).to.equal(1)
      })()
        .catch(() => undefined)
        .finally(() => {
          over.hasEnded = true
        })
      await eventually(
        () => over.hasEnded || running(0) + running(1) === 1,
        'one is full, or refused it',
      )
      if (!over.hasEnded) return { held }
    }
  }

  it('are one pool: calls go to both', async () => {
    await startBoth()
    const diagnostics = gateway.cluster('c-1').service(Diagnostics)
    const abort = new AbortController()
    const endless = { messages: 1000, messageBytes: 1, intervalMs: 1000 }
    const read = async (): Promise<void> => {
      for await (const message of diagnostics.download(endless, { signal: abort.signal }))
        expect(message.payload.length).to.equal(1)
    }
    const reads: Promise<void>[] = []
    // On a busy machine one round trip may be a hundred times the other, and counts as much as so many streams.
    for (let i = 1; i <= 300 && (i <= 10 || running(0) * running(1) === 0); i++) {
      reads.push(read())
      await eventually(() => running(0) + running(1) === i, 'all run')
    }
    expect([running(0), running(1)]).not.to.include(0)
    abort.abort()
    await Promise.allSettled(reads)
  })

  it('one draining: no call fails, though its caller sends none again', async () => {
    await startBoth()
    const diagnostics = gateway.cluster('c-1').service(Diagnostics)
    let [calls, isOver] = [0, false]
    const failures: unknown[] = []
    const workers = Array.from({ length: 16 }, async () => {
      while (!isOver)
        await diagnostics.echo({ payload: Buffer.alloc(50) }, { timeoutMs: 5000 }).then(
          () => calls++,
          (error: unknown) => failures.push(error),
        )
    })
    await eventually(() => calls > 500, 'calls work')
    await fleet.agents[0]?.drain()
    const before = calls
    await eventually(() => calls > before + 500, 'calls work with the other')
    isOver = true
    await Promise.all(workers)
    expect(failures).to.deep.equal([])
  })

  it('a call that one refuses for the moment goes to the other, with its body and what is left of its time', async () => {
    await startBoth({ 'limits.streamsMax': '1' })
    const diagnostics = gateway.cluster('c-1').service(Diagnostics)
    const abort = new AbortController()
    const endless = { messages: 1000, messageBytes: 1, intervalMs: 1000 }
    const { held } = await fill(diagnostics, endless, abort.signal)
    for (let i = 0; i < 20; i++) {
      const { payload } = await diagnostics.echo(
        { payload: Buffer.from(`${String(i)}!`) },
        { timeoutMs: 5000 },
      )
      expect(Buffer.from(payload).toString()).to.equal(`${String(i)}!`)
    }
    abort.abort()
    await Promise.allSettled([held])
  })

  it('a stream that a caller began to write is whole, or refused: never without its first bytes', async () => {
    await startBoth({ 'limits.streamsMax': '1' })
    const diagnostics = gateway.cluster('c-1').service(Diagnostics)
    const abort = new AbortController()
    const endless = { messages: 1000, messageBytes: 1, intervalMs: 1000 }
    const { held } = await fill(diagnostics, endless, abort.signal)
    const written = [100, 200, 300]
    const requests = async function* () {
      for (const size of written) yield await Promise.resolve({ payload: Buffer.alloc(size) })
    }
    let whole = 0
    for (let i = 0; i < 20; i++) {
      const outcome = await diagnostics
        .upload(requests())
        .catch((error: unknown) => error as RpcError)
      if (outcome instanceof RpcError) {
        expect(outcome.notStarted).to.equal(true)
      } else {
        expect([outcome.messages, outcome.bytes]).to.deep.equal([3n, 600n])
        whole++
      }
    }
    expect(whole).to.be.greaterThan(0)
    abort.abort()
    await Promise.allSettled([held])
  })

  it('a call that was under way is not sent again when its agent dies', async () => {
    await startBoth()
    const diagnostics = gateway.cluster('c-1').service(Diagnostics)
    const endless = { messages: 1000, messageBytes: 1, intervalMs: 1000 }
    const read = (async () => {
      for await (const message of diagnostics.download(endless))
        expect(message.payload.length).to.equal(1)
    })().catch((error: unknown) => error)
    await eventually(() => running(0) + running(1) === 1, 'it runs')
    const [holder, other] = running(0) === 1 ? [0, 1] : [1, 0]
    fleet.agents[holder]?.stop()
    const error = await read
    expect(error).to.be.instanceOf(RpcError)
    expect((error as RpcError).notStarted).to.equal(false)
    expect(running(other)).to.equal(0)
  })

  it('both gone: the refusal says that nothing was started', async () => {
    await startBoth()
    for (const agent of fleet.agents) agent.stop()
    await eventually(() => fleet.at(0).gateway.registry.tunnelCount === 0, 'both have gone')
    const error = await gateway
      .cluster('c-1')
      .service(Diagnostics)
      .echo({})
      .then(
        () => undefined,
        (reason: unknown) => reason as RpcError,
      )
    expect(error).to.include({ code: 'CLUSTER_UNKNOWN', notStarted: true })
  })
})
