import { expect } from 'chai'
import { LogLimiter } from '../../src/base/log-limiter.ts'
import { PosternError } from '../../src/base/errors.ts'
import { refuseStreams } from '../../src/mux/session-owner.ts'
import { SealedDoor } from '../../src/seal/sealed-door.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { MuxPair } from '../support/mux-pair.ts'
import { sealingKey } from '../support/sealing.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { readSealingKey, sealedEnd } from '../../src/seal/sealing-key.ts'
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

describe('the door of sealed sessions', () => {
  const clock = new FakeClock()
  const log = new LogRecorder()
  const key = readSealingKey(sealingKey(mkdtempSync(join(tmpdir(), 'postern-seal-')), 'agent'))
  const trust = { pins: new Map(), roots: [], crls: [] }
  const end = sealedEnd(
    key,
    () => trust,
    'caller',
    () => Date.now(),
  )

  function door(refusal?: PosternError): SealedDoor {
    return new SealedDoor({
      process: processParts(SETTINGS, { clock, random: new SeededRandom(1), logger: log }),
      end: () => end,
      refusal: () => refusal,
      log: new LogLimiter(log, clock),
    })
  }

  const settled = async (): Promise<void> => {
    await end
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  it('gives a handshake that stalls ten seconds, and says why it ended', async () => {
    const pair = new MuxPair()
    const { sink } = pair.dialer.open('seal')
    pair.pump()
    const [opened] = pair.acceptor.opened
    door().take(opened!.stream, { gateway: 'gw-1', tunnel: '1' }, () => refuseStreams(''))
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
    door(new PosternError('LOCKED_DOWN', 'locked')).take(
      pair.acceptor.opened[0]!.stream,
      { gateway: 'gw-1', tunnel: '1' },
      () => refuseStreams(''),
    )
    pair.pump()
    expect(sink.events).to.deep.equal(['refuse LOCKED_DOWN locked'])
  })

  it('takes two hundred handshakes at once, and then fifty a second', async () => {
    const one = door()
    const pair = new MuxPair()
    const outcomes: string[] = []
    const open = (): void => {
      const { sink, stream } = pair.dialer.open('seal')
      pair.pump()
      one.take(pair.acceptor.opened.at(-1)!.stream, { gateway: 'gw-1', tunnel: '1' }, () =>
        refuseStreams(''),
      )
      pair.pump()
      outcomes.push(sink.events[0] ?? 'taken')
      stream.reset('CANCELLED')
      pair.pump()
    }
    const taken = (): number => outcomes.splice(0).filter((one) => one === 'taken').length
    for (let i = 0; i < 250; i++) {
      open()
      if (i % 25 === 0) await settled()
    }
    expect(taken()).to.equal(200)
    clock.advance(1000)
    for (let i = 0; i < 60; i++) open()
    expect(taken()).to.equal(50)
  })
})
