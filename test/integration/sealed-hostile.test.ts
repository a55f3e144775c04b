import { expect } from 'chai'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { LogLimiter } from '../../src/base/log-limiter.ts'
import type { RpcError } from '../../src/client.ts'
import { Relay } from '../../src/gateway/callers/relay.ts'
import type { MuxStream, StreamSink } from '../../src/mux/stream.ts'
import { refuseStreams } from '../../src/mux/session-owner.ts'
import { SealedDoor } from '../../src/seal/sealed-door.ts'
import type { SealedEnd } from '../../src/transport/sealed-tls.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, CALLER } from '../support/pki.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { echo, SealedStack } from '../support/sealed-stack.ts'

describe('a gateway that holds every key of the vendor', function () {
  let at: SealedStack
  const undo: (() => void)[] = []
  beforeEach(async () => {
    at = await SealedStack.start()
  })
  afterEach(() => {
    for (const one of undo.splice(0)) one()
    at.stop()
  })

  const reasonOf = async (promise: Promise<unknown>): Promise<string> =>
    await promise.then(
      () => 'it passed',
      (error: unknown) => (error as RpcError).rawMessage,
    )

  /** What goes through the gateway, as it sees it and may change it. */
  function onPassing(see: (bytes: Buffer) => Buffer): void {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- it is put back as it was
    const { onData } = Relay.prototype
    undo.push(() => {
      Relay.prototype.onData = onData
    })
    Relay.prototype.onData = function (this: Relay, stream: MuxStream, bytes: Buffer): void {
      onData.call(this, stream, see(bytes))
    }
  }

  it('reads nothing of a sealed call, and all of one that is not', async () => {
    const marker = randomBytes(24).toString('hex')
    const seen: Buffer[] = []
    onPassing((bytes) => {
      seen.push(Buffer.from(bytes))
      return bytes
    })
    const long = marker.repeat(1000)
    expect(await echo(at.cluster(), long)).to.equal(long)
    expect(seen.length).to.be.above(5)
    expect(Buffer.concat(seen).includes(marker)).to.equal(false)
    await at.agent.reload(() => ({
      ...at.agent.settings,
      'policy.file': undefined,
      allow: [{ caller: '*', methods: ['*'], services: [] }],
    }))
    expect(await echo(at.client.cluster('c-1'), long)).to.equal(long)
    expect(Buffer.concat(seen).includes(marker)).to.equal(true)
  })

  it('alters nothing: the session ends, and nothing of it reaches a handler', async () => {
    const cluster = at.cluster()
    await echo(cluster, 'x')
    onPassing((bytes) => {
      const altered = Buffer.from(bytes)
      altered[altered.length - 1]! ^= 1
      return altered
    })
    const before = at.agent.report().guard.allowed
    expect(await reasonOf(echo(cluster, 'y'))).to.match(/CONNECTION_LOST|TLS_|GOING_AWAY/)
    expect(at.agent.report().guard.allowed).to.equal(before)
    await eventually(() => at.agent.report().seal.sessions === 0, 'the session has ended')
  })

  it('cannot act as a caller: a certificate of the vendor proves nothing to the agent', async () => {
    const { certificateFile, keyFile } = await at.stack.pki.issue({ ...CALLER, caller: 'console' })
    const posing = at.cluster({ certificateFile, keyFile })
    expect(await reasonOf(echo(posing, 'x'))).to.include('SEAL_REFUSED')
    expect(await reasonOf(echo(posing, 'x'))).to.include('is not pinned')
    expect(at.agent.report().guard.allowed).to.equal(0)
  })

  it('cannot act as the agent: a certificate of the vendor proves nothing to the caller', async () => {
    const { certificateFile, keyFile } = await at.stack.pki.issue(AGENT)
    const heard: string[] = []
    const end: SealedEnd = {
      certificatePem: readFileSync(certificateFile, 'utf8'),
      keyPem: readFileSync(keyFile, 'utf8'),
      notAfterMs: Infinity,
      judge: () => ({ identity: { ...CALLER }, certificateNotAfterMs: Infinity }),
    }
    const { parts } = at.agent
    const door = new SealedDoor({
      process: parts,
      end: () => Promise.resolve(end),
      refusal: () => undefined,
      log: new LogLimiter(at.stack.log, at.stack.clock),
      onRefused: () => undefined,
    })
    // eslint-disable-next-line @typescript-eslint/unbound-method -- it is put back as it was
    const { start } = Relay
    undo.push(() => {
      Relay.start = start
    })
    Relay.start = (_host, near) => {
      const from = { gateway: 'evil', region: '', tunnel: '1', caller: '' }
      door.take(near, from, () => {
        heard.push('a session')
        return refuseStreams('')
      })
    }
    expect(await reasonOf(echo(at.cluster(), 'secret'))).to.include('is not pinned')
    // The hello of the mux may be under way before a refusal: nothing of a call is.
    await eventually(() => door.sessionCount === 0, 'it is rid of the caller')
    expect(heard.length).to.be.at.most(1)
  })

  const sealedStream = async (sink: StreamSink): Promise<MuxStream> => {
    await echo(at.cluster(), 'x')
    return at.client.cluster('c-1').channel.sealed(sink)
  }

  it('gains nothing by nonsense in a sealed stream', async () => {
    for (const nonsense of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      randomBytes(1000),
      Buffer.alloc(5, 0x16),
    ]) {
      const sink = new RecordingSink()
      const stream = await sealedStream(sink)
      stream.write(nonsense)
      stream.end()
      await eventually(() => stream.isClosed, 'the stream is over')
    }
    const sink = new RecordingSink()
    const stream = await sealedStream(sink)
    // A record that announces more than ever comes, again and again.
    for (let i = 0; i < 10; i++) stream.write(Buffer.alloc(8192, 0x16))
    await eventually(() => stream.isClosed, 'the stream is over')
    expect(await echo(at.cluster(), 'still')).to.equal('still')
    expect(at.agent.tunnel.state.name).to.equal('ready')
  })

  it('takes few places by streams that say nothing', async () => {
    const streams: MuxStream[] = []
    const sinks: RecordingSink[] = []
    for (let i = 0; i < 70; i++) {
      const sink = new RecordingSink()
      sinks.push(sink)
      streams.push(at.client.cluster('c-1').channel.sealed(sink))
    }
    await eventually(
      () => streams.filter(({ isClosed }) => isClosed).length === 62,
      'all but eight are refused',
    )
    expect(sinks.at(-1)?.events.join()).to.include('STREAM_LIMIT')
    const crowded = await reasonOf(echo(at.cluster(), 'x'))
    expect(crowded).to.include('STREAM_LIMIT')
    for (const stream of streams) stream.reset('CANCELLED')
    await eventually(
      async () => (await reasonOf(echo(at.cluster(), 'x'))) === 'it passed',
      'room again',
    )
  })
})
