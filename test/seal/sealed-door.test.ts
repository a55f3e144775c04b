import { expect } from 'chai'
import { LogLimiter } from '../../src/base/log-limiter.ts'
import { PosternError } from '../../src/base/errors.ts'
import { refuseStreams } from '../../src/mux/session-owner.ts'
import { SealedDoor } from '../../src/seal/sealed-door.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { MuxPair } from '../support/mux-pair.ts'
import type { RecordingSink } from '../support/recording-sink.ts'
import { sealingKey } from '../support/sealing.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { readSealingKey, sealedEnd } from '../../src/seal/sealing-key.ts'
import { ByteBudget } from '../../src/base/byte-budget.ts'
import type { Identity } from '../../src/identity/name.ts'
import type { MuxStream } from '../../src/mux/stream.ts'
import type { RpcChannel } from '../../src/rpc/channel.ts'
import { openSealed } from '../../src/seal/open-sealed.ts'
import type { SealedEnd } from '../../src/transport/sealed-tls.ts'
import type { ProcessParts } from '../../src/tunnel/rpc-connection.ts'
import { AGENT } from '../support/pki.ts'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const SETTINGS = {
  'tunnel.pingInterval': 10_000,
  'tunnel.silence': 20_000,
  'limits.windowBytesMax': 1024 * 1024,
  'limits.sessionWindowBytesMax': 4 * 1024 * 1024,
  'rpc.messageBytesMax': 512 * 1024,
}

const FROM = { gateway: 'gw-1', region: 'r-1', tunnel: '1', caller: 'console' }

describe('the door of sealed sessions', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-seal-'))
  let clock: FakeClock
  let log: LogRecorder
  let parts: ProcessParts
  let refusals: string[]
  const agentKey = readSealingKey(sealingKey(folder, 'agent'))
  const callerKey = readSealingKey(sealingKey(folder, 'caller'))
  const callers: Identity = { role: 'caller', trustDomain: '', caller: 'console' }
  const pins = new Map([[callerKey.pin, callers]])
  const wallMs = (): number => Date.now()
  let end: Promise<SealedEnd>

  beforeEach(() => {
    clock = new FakeClock()
    log = new LogRecorder()
    refusals = []
    parts = processParts(SETTINGS, { clock, random: new SeededRandom(1), logger: log })
    end = sealedEnd(agentKey, () => ({ pins, roots: [], crls: [] }), 'caller', wallMs)
  })

  function door(refusal?: PosternError): SealedDoor {
    return new SealedDoor({
      process: parts,
      end: () => end,
      refusal: () => refusal,
      log: new LogLimiter(log, clock),
      onRefused: ({ caller }, { code }) => refusals.push(`${caller} ${code}`),
    })
  }

  const settled = async (): Promise<void> => {
    await end
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Opens a session as a caller does. Returns what became of it, and the agent's stream. */
  async function enter(
    at: SealedDoor,
    key = callerKey,
  ): Promise<{ said: string; stream: MuxStream }> {
    const pair = new MuxPair()
    const trust = { pins: new Map([[agentKey.pin, AGENT]]), roots: [], crls: [] }
    const own = await sealedEnd(key, () => trust, 'agent', wallMs)
    const channel = {
      sealed: (sink: RecordingSink) => pair.dialer.open('seal', { sink }).stream,
    } as unknown as RpcChannel
    const near = new FakeClock()
    const ambient = { clock: near, random: new SeededRandom(1), logger: log }
    const process = processParts(SETTINGS, ambient)
    let said = ''
    openSealed({ channel, cluster: 'c-1', end: own, process, timeoutMs: 9000 }).then(
      () => (said = 'opened'),
      (error: unknown) => (said = (error as PosternError).rawMessage),
    )
    let stream: MuxStream | undefined
    for (let i = 0; i < 200 && said === ''; i++) {
      pair.pump()
      await new Promise((resolve) => setImmediate(resolve))
      for (const one of [near, clock]) one.advance(1)
      if (stream !== undefined) continue
      stream = pair.acceptor.opened[0]?.stream
      if (stream !== undefined) at.take(stream, FROM, () => refuseStreams(''))
    }
    for (let i = 0; i < 10; i++) {
      pair.pump()
      await new Promise((resolve) => setImmediate(resolve))
    }
    clock.advance(110)
    return { said, stream: stream! }
  }

  it('gives a handshake that stalls ten seconds, and says why it ended', async () => {
    const pair = new MuxPair()
    const { sink } = pair.dialer.open('seal')
    pair.pump()
    const [opened] = pair.acceptor.opened
    door().take(opened!.stream, FROM, () => refuseStreams(''))
    await settled()
    pair.pump()
    expect(sink.events).to.deep.equal(['accept'])
    clock.advance(10_001)
    await settled()
    pair.pump()
    expect(opened!.stream.isClosed).to.equal(true)
    const [line] = log.lines.filter(({ message }) => message === 'a sealed session was refused')
    expect(line?.facts).to.deep.include({ code: 'HANDSHAKE_LIMIT', gateway: 'gw-1' })
  })

  it('refuses before it takes anything, where the agent takes no session now', () => {
    const pair = new MuxPair()
    const { sink } = pair.dialer.open('seal')
    pair.pump()
    const { stream } = pair.acceptor.opened[0]!
    door(new PosternError('LOCKED_DOWN', 'locked')).take(stream, FROM, () => refuseStreams(''))
    pair.pump()
    expect(sink.events).to.deep.equal(['refuse LOCKED_DOWN locked'])
  })

  it('gives each caller, each tunnel and all together a rate of handshakes of its own', async () => {
    const one = door()
    const pair = new MuxPair()
    const taken = async (count: number, from: (i: number) => typeof FROM): Promise<number> => {
      let sum = 0
      for (let i = 0; i < count; i++) {
        const { sink, stream } = pair.dialer.open('seal')
        pair.pump()
        one.take(pair.acceptor.opened.at(-1)!.stream, from(i), () => refuseStreams(''))
        pair.pump()
        if (sink.events[0] === undefined) sum++
        stream.reset('CANCELLED')
        pair.pump()
        if (i % 5 === 0) await settled()
      }
      return sum
    }
    expect(await taken(60, () => FROM)).to.equal(40)
    expect(await taken(150, (i) => ({ ...FROM, caller: `c${String(i)}` }))).to.equal(60)
    const others = (i: number) => ({ ...FROM, tunnel: `t${String(i)}`, caller: `c${String(i)}` })
    expect(await taken(150, others)).to.equal(100)
    clock.advance(1000)
    expect(await taken(20, () => FROM)).to.equal(10)
    expect(await taken(60, others)).to.equal(40)
  })

  it('lets callers who never say a word keep out nobody but themselves', async () => {
    const one = door()
    const pair = new MuxPair()
    const knock = (from: typeof FROM): string => {
      const { sink } = pair.dialer.open('seal')
      pair.pump()
      one.take(pair.acceptor.opened.at(-1)!.stream, from, () => refuseStreams(''))
      pair.pump()
      return sink.events[0] ?? 'taken'
    }
    const silent = Array.from({ length: 20 }, () => knock(FROM))
    expect(silent.filter((what) => what === 'taken').length).to.equal(8)
    expect(knock({ ...FROM, caller: 'another' })).to.equal('taken')
    // A gateway can name any number of callers.
    for (let i = 0; i < 100; i++) knock({ ...FROM, caller: `c${String(i)}` })
    expect(knock({ ...FROM, caller: 'one more' })).to.include('STREAM_LIMIT')
    expect(knock({ ...FROM, tunnel: '2' })).to.equal('taken')
    await settled()
  })

  it('holds 32 sessions of one caller and a share of the bytes at most, and ends those that nobody uses', async () => {
    const one = door()
    const said: string[] = []
    for (let i = 0; i < 36; i++) said.push((await enter(one)).said)
    expect(said.filter((what) => what === 'opened').length).to.equal(32)
    expect(said.at(-1)).to.include('too many sealed sessions')
    expect(one.sessionCount).to.equal(32)
    expect(parts.budget.reservedBytes).to.be.below(parts.budget.bytesMax / 8)
    for (let minute = 0; minute < 17; minute++) {
      clock.advance(60_000)
      await settled()
    }
    expect(one.sessionCount).to.equal(0)
    expect(parts.budget.reservedBytes).to.equal(0)
    expect((await enter(one)).said).to.equal('opened')
  })

  it('keeps nothing of a session that a certificate has ended already, nor takes one under an expired key', async () => {
    const one = door()
    const good = await end
    end = Promise.resolve(
      Object.create(good, { notAfterMs: { value: clock.wallMs() - 1000 } }) as SealedEnd,
    )
    for (let i = 0; i < 3; i++) expect((await enter(one)).said).to.include('has expired')
    expect(one.sessionCount).to.equal(0)
    const ended = (): ReturnType<SealedEnd['judge']> => ({
      identity: callers,
      certificateNotAfterMs: clock.wallMs() - 1000,
    })
    end = Promise.resolve(Object.create(good, { judge: { value: ended } }) as SealedEnd)
    for (let i = 0; i < 3; i++) await enter(one)
    expect(one.sessionCount).to.equal(0)
    end = Promise.resolve(good)
    expect((await enter(one)).said).to.equal('opened')
  })

  it('leaves no stream open where there are no bytes for a session', async () => {
    parts = { ...parts, budget: new ByteBudget(1024) }
    const one = door()
    const { said, stream } = await enter(one)
    expect(said).to.not.equal('opened')
    clock.advance(20_000)
    await settled()
    expect([stream.isClosed, one.sessionCount]).to.deep.equal([true, 0])
  })

  it('tells the record of a key that it does not know', async () => {
    const { said } = await enter(door(), readSealingKey(sealingKey(folder, 'stranger')))
    expect(said).to.include('is not pinned')
    expect(refusals).to.deep.equal(['console SEAL_REFUSED'])
  })
})
