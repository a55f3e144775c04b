import { expect } from 'chai'
import { codeOf } from '../support/code-of.ts'
import { decodeExtras, encodeExtras } from '../../src/wire/head-extras.ts'
import fc from 'fast-check'
import { PosternError } from '../../src/base/errors.ts'
import { decodeMetadata, encodeMetadata } from '../../src/wire/metadata.ts'
import {
  encodeName,
  encodeRoute,
  readHead,
  writeHead,
  writeRelayedHead,
  KIND,
} from '../../src/wire/open-head.ts'
import { FRAME } from '../../src/wire/frame.ts'
import { HEADER_BYTES } from '../../src/wire/header.ts'
import { FrameWriter } from '../../src/wire/frame-writer.ts'
import { readGoAway, writeGoAway } from '../../src/wire/goaway.ts'
import { chooseVersion, readHello, writeHello } from '../../src/wire/hello.ts'
import { readTrailer, writeTrailer } from '../../src/wire/trailer.ts'
import { codeOfWireNumber, WIRE_CODES, wireNumber } from '../../src/wire/codes.ts'
import { ERROR_CODES } from '../../src/base/error-codes.ts'

function payload(write: (writer: FrameWriter) => void): Buffer {
  const writer = new FrameWriter()
  writer.begin(FRAME.OPEN, 0, 1)
  write(writer)
  writer.end()
  return writer.take().subarray(HEADER_BYTES)
}

/** Every prefix and every one-byte change either reads or throws one of our codes. */
function survives(bytes: Buffer, read: (bytes: Buffer) => unknown): void {
  const attempt = (candidate: Buffer): void => {
    try {
      read(candidate)
    } catch (error) {
      expect(error, candidate.toString('hex')).to.be.instanceOf(PosternError)
    }
  }
  for (let cut = 0; cut <= bytes.length; cut++) attempt(bytes.subarray(0, cut))
  for (let at = 0; at < bytes.length; at++) {
    for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
      const changed = Buffer.from(bytes)
      changed[at] = value
      attempt(changed)
    }
  }
}

const head = payload((writer) => {
  writeHead(writer, {
    kind: KIND.unary,
    dataType: 11,
    timeoutMs: 5000,
    route: encodeRoute('eu-1', 'billing', 'a.B/C'),
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    metadata: encodeMetadata({ key: 'välue' }),
  })
  writer.bytes(Buffer.from('body'))
})

describe('the head of OPEN', () => {
  it('reads what was written', () => {
    const read = readHead(head, 0, head.length)
    expect(read).to.include({
      kind: 1,
      dataType: 11,
      timeoutMs: 5000,
      cluster: 'eu-1',
      caller: 'billing',
      name: 'a.B/C',
    })
    expect(head.toString('utf8', read.bodyStart)).to.equal('body')
    expect({ ...decodeMetadata(head.subarray(read.metadataStart, read.bodyStart)) }).to.deep.equal({
      key: 'välue',
    })
  })

  it('survives every cut and change', () => {
    survives(head, (bytes) => readHead(bytes, 0, bytes.length))
  })

  it('is passed on with another caller and nothing else changed', () => {
    const original = readHead(head, 0, head.length)
    const relayed = payload((writer) => {
      const extras = encodeExtras({ callerRegion: 'eu-west-1' })
      const names = { caller: encodeName('ops'), traceparent: '', extras }
      writeRelayedHead(writer, original, names, head, 0, head.length)
    })
    const read = readHead(relayed, 0, relayed.length)
    expect(read).to.include({
      caller: 'ops',
      cluster: 'eu-1',
      name: 'a.B/C',
      timeoutMs: 5000,
      traceparent: original.traceparent,
    })
    const extras = decodeExtras(relayed, read.metadataEnd, read.bodyStart)
    expect(extras).to.deep.equal({ callerRegion: 'eu-west-1', callerIssuer: '' })
    expect(relayed.subarray(read.bodyStart).toString()).to.equal('body')
  })

  it('has its extras taken off by a relay, whatever they say', () => {
    const forged = payload((writer) => {
      const extras = encodeExtras({ callerRegion: 'us-east' })
      const original = readHead(head, 0, head.length)
      const names = { caller: encodeName(''), traceparent: '', extras }
      writeRelayedHead(writer, original, names, head, 0, head.length)
    })
    const read = readHead(forged, 0, forged.length)
    const relayed = payload((writer) => {
      const names = { caller: encodeName('ops'), traceparent: '', extras: Buffer.alloc(0) }
      writeRelayedHead(writer, read, names, forged, 0, forged.length)
    })
    const again = readHead(relayed, 0, relayed.length)
    expect(decodeExtras(relayed, again.metadataEnd, again.bodyStart).callerRegion).to.equal('')
    expect(relayed.subarray(again.bodyStart).toString()).to.equal('body')
    expect(relayed.includes('us-east')).to.equal(false)
  })

  it('ignores extras that it does not know, and takes none that are cut off or name no region', () => {
    const decoded = (...bytes: number[]) => decodeExtras(Buffer.from(bytes), 0, bytes.length)
    expect(decoded(9, 2, 1, 1, 1, 2, 0x65, 0x75, 200, 0)).to.deep.equal({
      callerRegion: 'eu',
      callerIssuer: '',
    })
    for (const bad of [[1], [1, 3, 0x65], [1, 0], [1, 1, 0x2d], [1, 1, 0x0a]])
      codeOf(() => decoded(...bad), 'MALFORMED_CALL')
  })

  it('takes printable ASCII names of at most 255 bytes', () => {
    expect(() => encodeRoute('', '', 'x'.repeat(256)))
      .to.throw(PosternError)
      .with.property('code', 'HEAD_TOO_LARGE')
    expect(() => encodeRoute('', '', 'a b'))
      .to.throw(PosternError)
      .with.property('code', 'MALFORMED_CALL')
  })
})

describe('metadata', () => {
  it('refuses too many entries, too many bytes and forbidden characters', () => {
    const many = Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`k${String(i)}`, 'v']))
    expect(() => encodeMetadata(many))
      .to.throw(PosternError)
      .with.property('code', 'HEAD_TOO_LARGE')
    expect(() => encodeMetadata({ k: 'v'.repeat(17_000) }))
      .to.throw(PosternError)
      .with.property('code', 'HEAD_TOO_LARGE')
    expect(() => encodeMetadata({ Key: 'v' }))
      .to.throw(PosternError)
      .with.property('code', 'MALFORMED_CALL')
    expect(() => encodeMetadata({ k: 'a\nb' }))
      .to.throw(PosternError)
      .with.property('code', 'MALFORMED_CALL')
  })

  it('comes back as it was, wherever it stands in a buffer', () => {
    const keys = fc.stringMatching(/^[a-z0-9_.-]{1,20}$/)
    const values = fc.string({ unit: 'grapheme' })
    fc.assert(
      fc.property(fc.dictionary(keys, values, { maxKeys: 20 }), fc.nat(20), (sent, before) => {
        // eslint-disable-next-line no-control-regex -- what metadata refuses
        fc.pre(Object.values(sent).every((value) => !/[\u0000-\u001f\u007f-\u009f]/.test(value)))
        const block = encodeMetadata(sent)
        const bytes = Buffer.concat([Buffer.alloc(before, 0xff), block, Buffer.alloc(3, 0xff)])
        const received = decodeMetadata(bytes, before, before + block.length)
        expect({ ...received }).to.deep.equal({ ...sent })
      }),
    )
  })

  it('refuses a key twice, values that are not UTF-8, and controls in either form', () => {
    for (const bytes of [
      [1, 0x6b, 0, 0, 1, 0x6b, 0, 0],
      [1, 0x6b, 0, 1, 0xff],
      [1, 0x6b, 0, 1, 0x0a],
      [1, 0x6b, 0, 2, 0xc2, 0x85],
      [1, 0x4b, 0, 0],
      [0, 0, 0],
      [1, 0x6b, 0, 2, 0x61],
      [1, 0x6b, 0],
    ])
      expect(() => decodeMetadata(Buffer.from(bytes)), String(bytes))
        .to.throw(PosternError)
        .with.property('code', 'MALFORMED_CALL')
  })

  it('survives random bytes, and cannot touch prototypes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeMetadata(Buffer.from(bytes))
        } catch (error) {
          expect(error).to.be.instanceOf(PosternError)
        }
      }),
    )
    const hostile = decodeMetadata(encodeMetadata(Object.fromEntries([['__proto__', 'x']])))
    expect(Object.getPrototypeOf(hostile)).to.equal(null)
  })
})

describe('trailer, HELLO and GOAWAY', () => {
  it('read what was written, and survive every cut and change', () => {
    const trailer = payload((writer) => {
      writeTrailer(writer, 5, 'not found', encodeMetadata({ a: 'b' }), Buffer.from('body'))
    })
    const read = readTrailer(trailer, 0, trailer.length)
    expect(read).to.include({ status: 5, text: 'not found' })
    expect(trailer.toString('utf8', read.bodyStart)).to.equal('body')
    survives(trailer, (bytes) => readTrailer(bytes, 0, bytes.length))

    const hello = {
      versionMin: 1,
      versionMax: 3,
      features: 0x8000_0000_0000_0001n,
      streamsMax: 9,
      sessionCredit: 8,
      streamCredit: 7,
    }
    const writer = new FrameWriter()
    writeHello(writer, hello)
    const helloBytes = writer.take().subarray(HEADER_BYTES)
    expect(readHello(helloBytes, 0, helloBytes.length)).to.deep.equal(hello)
    survives(helloBytes, (bytes) => readHello(bytes, 0, bytes.length))

    const goAway = {
      lastId: 4,
      code: 'GOING_AWAY' as const,
      reconnectAfterMs: 1500,
      text: 'bye',
      alternates: ['a:1', '[::1]:2'],
    }
    writeGoAway(writer, goAway)
    const goAwayBytes = writer.take().subarray(HEADER_BYTES)
    expect(readGoAway(goAwayBytes, 0, goAwayBytes.length)).to.deep.equal(goAway)
    survives(goAwayBytes, (bytes) => readGoAway(bytes, 0, bytes.length))
  })

  it('refuses a version that both do not speak, and names both ranges', () => {
    expect(chooseVersion({ versionMin: 1, versionMax: 9 })).to.equal(1)
    expect(() => chooseVersion({ versionMin: 2, versionMax: 9 }))
      .to.throw(PosternError, /version 1 to 1, the peer 2 to 9/)
      .with.property('code', 'VERSION_UNSUPPORTED')
  })
})

describe('codes on the wire', () => {
  it('are unique both ways, known to the table of errors, and unknown numbers read as INTERNAL', () => {
    const numbers = WIRE_CODES.map(([number]) => number)
    expect(new Set(numbers).size).to.equal(numbers.length)
    for (const [number, code] of WIRE_CODES) {
      expect(ERROR_CODES).to.have.property(code)
      expect(wireNumber(code)).to.equal(number)
      expect(codeOfWireNumber(number)).to.equal(code)
    }
    expect(codeOfWireNumber(9999)).to.equal('INTERNAL')
  })
})
