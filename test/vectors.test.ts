import { expect } from 'chai'
import { readFileSync } from 'node:fs'
import { FrameDecoder } from '../src/wire/frame-decoder.ts'
import { FrameWriter } from '../src/wire/frame-writer.ts'
import { writeHello } from '../src/wire/hello.ts'
import { vectorFiles, type Exchange, type FrameVector } from '../scripts/vectors.ts'
import { MuxSide } from './support/mux-pair.ts'

function read(name: string): string {
  return readFileSync(new URL(`./vectors/${name}`, import.meta.url), 'utf8')
}

describe('the test vectors', () => {
  const frames = JSON.parse(read('frames.json')) as { valid: FrameVector[]; invalid: FrameVector[] }

  it('are what the code makes now (npm run vectors)', () => {
    for (const [name, text] of vectorFiles()) expect(read(name), name).to.equal(text)
  })

  for (const { meaning, hex, frame } of frames.valid) {
    it(`decode: ${meaning}`, () => {
      const seen: object[] = []
      new FrameDecoder().push(
        Buffer.from(hex, 'hex'),
        (type, flags, streamId, _bytes, start, end) => {
          seen.push({ type, flags, streamId, payloadBytes: end - start })
        },
      )
      expect(seen).to.deep.equal([frame])
    })
  }

  for (const { meaning, hex, error } of frames.invalid) {
    it(`end the session with ${error ?? ''}: ${meaning}`, () => {
      const side = new MuxSide('acceptor')
      const writer = new FrameWriter()
      const credit = { streamsMax: 10, sessionCredit: 1000, streamCredit: 1000 }
      writeHello(writer, { versionMin: 1, versionMax: 1, features: 0n, ...credit })
      side.session.receive(writer.take(), 0)
      side.session.receive(Buffer.from('100000040000000100000000', 'hex'), 0)
      expect(side.closed).to.equal(undefined)
      side.session.receive(Buffer.from(hex, 'hex'), 0)
      expect(side.closed?.code).to.equal(error)
    })
  }

  for (const { meaning, steps } of JSON.parse(read('exchanges.json')) as Exchange[]) {
    it(`replay to an acceptor as they were recorded: ${meaning}`, () => {
      const side = new MuxSide('acceptor')
      const hello = steps.find(({ from }) => from === 'acceptor')?.hex ?? ''
      expect(hello.startsWith(side.take().toString('hex'))).to.equal(true)
      for (const { from, hex } of steps) {
        if (from === 'dialer') side.session.receive(Buffer.from(hex, 'hex'), 0)
      }
      expect(side.closed).to.equal(undefined)
      expect(side.opened.length).to.equal(1)
    })
  }
})
