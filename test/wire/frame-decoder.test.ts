import { expect } from 'chai'
import fc from 'fast-check'
import { PosternError } from '../../src/base/errors.ts'
import { FRAME, PAYLOAD_BYTES_MAX } from '../../src/wire/frame.ts'
import { FrameDecoder } from '../../src/wire/frame-decoder.ts'
import { FrameWriter } from '../../src/wire/frame-writer.ts'

interface Seen {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly payload: string
}

function decode(decoder: FrameDecoder, chunk: Buffer, seen: Seen[]): void {
  decoder.push(chunk, (type, flags, id, bytes, start, end) => {
    seen.push({ type, flags, id, payload: bytes.toString('hex', start, end) })
  })
}

function encode(frames: readonly Seen[]): Buffer {
  const writer = new FrameWriter()
  for (const { type, flags, id, payload } of frames) {
    writer.begin(type, flags, id)
    writer.bytes(Buffer.from(payload, 'hex'))
    writer.end()
  }
  return writer.take()
}

describe('FrameDecoder', () => {
  const frames: readonly Seen[] = [
    { type: FRAME.PING, flags: 0, id: 0, payload: '0000000000000001' },
    { type: FRAME.DATA, flags: 1, id: 7, payload: '' },
    { type: FRAME.OPEN, flags: 1, id: 0xffff_ffff, payload: '00000000aabbcc' },
    { type: FRAME.DATA, flags: 0, id: 9, payload: 'ff'.repeat(300) },
    { type: 0x80, flags: 3, id: 1, payload: '01' },
  ]

  it('gives the same frames wherever the bytes are cut once', () => {
    const bytes = encode(frames)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const decoder = new FrameDecoder()
      const seen: Seen[] = []
      decode(decoder, bytes.subarray(0, cut), seen)
      decode(decoder, bytes.subarray(cut), seen)
      expect(seen, `cut at ${String(cut)}`).to.deep.equal(frames)
      expect(decoder.heldBytes).to.equal(0)
    }
  })

  it('gives the same frames byte by byte', () => {
    const decoder = new FrameDecoder()
    const seen: Seen[] = []
    for (const byte of encode(frames)) decode(decoder, Buffer.from([byte]), seen)
    expect(seen).to.deep.equal(frames)
  })

  it('takes the largest payload and refuses one byte more on the header alone', () => {
    const largest = { type: FRAME.DATA, flags: 0, id: 1, payload: '00'.repeat(PAYLOAD_BYTES_MAX) }
    const seen: Seen[] = []
    decode(new FrameDecoder(), encode([largest]), seen)
    expect(seen).to.deep.equal([largest])
    const header = Buffer.from([FRAME.DATA, 0, 0, 0, 0, 0, 0, 1])
    header.writeUInt16BE(PAYLOAD_BYTES_MAX + 1, 2)
    expect(() => {
      decode(new FrameDecoder(), header, [])
    })
      .to.throw(PosternError)
      .with.property('code', 'FRAME_TOO_LARGE')
  })

  it('refuses unknown types under 0x80 and lengths below the minimum', () => {
    for (const header of [
      '0700000000000000',
      '0000000000000000',
      '0200000700000000',
      '1500000100000001',
    ]) {
      expect(() => {
        decode(new FrameDecoder(), Buffer.from(header, 'hex'), [])
      })
        .to.throw(PosternError)
        .with.property('code', 'PROTOCOL_VIOLATION')
    }
  })

  it('never throws anything but its own codes on random bytes, and holds less than a frame', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 8 }), (chunks) => {
        const decoder = new FrameDecoder()
        try {
          for (const chunk of chunks) {
            decode(decoder, Buffer.from(chunk), [])
            expect(decoder.heldBytes).to.be.lessThan(PAYLOAD_BYTES_MAX + 8)
          }
        } catch (error) {
          expect(error).to.be.instanceOf(PosternError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('FrameWriter', () => {
  it('moves whole frames only, and keeps the rest in order', () => {
    const writer = new FrameWriter()
    for (const size of [10, 20, 30]) {
      writer.begin(FRAME.DATA, 0, size)
      writer.bytes(Buffer.alloc(size, size))
      writer.end()
    }
    const first = Buffer.alloc(50)
    expect(writer.drainInto(first, 0)).to.equal(18 + 28)
    const second = Buffer.alloc(50)
    expect(writer.drainInto(second, 0)).to.equal(38)
    expect(second.readUInt32BE(4)).to.equal(30)
    expect(writer.length).to.equal(0)
  })
})
