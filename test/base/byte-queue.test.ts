import { expect } from 'chai'
import fc from 'fast-check'
import { ByteQueue } from '../../src/base/byte-queue.ts'

describe('ByteQueue', () => {
  it('gives back what it was given, however it is pushed and taken', () => {
    const step = fc.oneof(
      fc.record({ push: fc.oneof(fc.nat(20), fc.nat(10_000)) }),
      fc.record({ take: fc.nat(12_000), isCopy: fc.boolean() }),
      fc.constant({ all: true }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const queue = new ByteQueue()
        let model = Buffer.alloc(0)
        let next = 0
        for (const one of steps) {
          if ('push' in one) {
            const bytes = Buffer.from(Array.from({ length: one.push }, () => next++ & 0xff))
            queue.push(bytes)
            model = Buffer.concat([model, bytes])
          } else if ('take' in one) {
            const count = Math.min(one.take, queue.length)
            let taken: Buffer
            if (one.isCopy) {
              taken = Buffer.alloc(count)
              queue.moveInto(taken, 0, count)
            } else taken = queue.take(count)
            expect(taken.equals(model.subarray(0, count))).to.equal(true)
            model = model.subarray(count)
          } else {
            expect(Buffer.concat(queue.takeAll()).equals(model)).to.equal(true)
            model = Buffer.alloc(0)
          }
          expect(queue.length).to.equal(model.length)
          if (queue.length >= 4) expect(queue.peekU32()).to.equal(model.readUInt32BE(0))
        }
      }),
      { numRuns: 500 },
    )
  })

  it('holds a million single bytes in little more than a megabyte', () => {
    const queue = new ByteQueue()
    const pinned = Buffer.alloc(16_384)
    for (let i = 0; i < 1_000_000; i++) queue.push(pinned.subarray(0, 1))
    const stores = new Set(queue.takeAll().map(({ buffer }) => buffer))
    const held = [...stores].reduce((sum, { byteLength }) => sum + byteLength, 0)
    expect(held).to.be.lessThan(1_100_000)
  })
})
