/** Writes test/vectors/*.json: frames in hex with their meaning, and whole recorded exchanges. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { FLAG_END, FRAME } from '../src/wire/frame.ts'
import { FrameWriter } from '../src/wire/frame-writer.ts'
import { writeGoAway } from '../src/wire/goaway.ts'
import { FEATURES, writeHello } from '../src/wire/hello.ts'
import { encodeMetadata } from '../src/wire/metadata.ts'
import { encodeRoute, KIND, writeHead } from '../src/wire/open-head.ts'
import { writeRefuse } from '../src/wire/refuse.ts'
import { writeTrailer } from '../src/wire/trailer.ts'
import { headVectors, trailerVectors } from './call-vectors.ts'
import { answer, MuxPair, type MuxSide } from '../test/support/mux-pair.ts'
import { RecordingSink } from '../test/support/recording-sink.ts'

export interface FrameVector {
  readonly meaning: string
  readonly hex: string
  /** Absent for a valid frame: the code that ends the session of a receiver. */
  readonly error?: string
  readonly frame?: {
    readonly type: number
    readonly flags: number
    readonly streamId: number
    readonly payloadBytes: number
  }
}

export interface Exchange {
  readonly meaning: string
  /** In order; each step is what that side sent as one batch. */
  readonly steps: readonly {
    readonly from: 'dialer' | 'acceptor'
    readonly hex: string
    readonly frames: readonly string[]
  }[]
}

const ROOT = fileURLToPath(new URL('../test/vectors/', import.meta.url))
const NAMES = new Map(Object.entries(FRAME).map(([name, type]) => [type as number, name]))

function frame(
  type: number,
  flags: number,
  id: number,
  write: (writer: FrameWriter) => void,
): Buffer {
  const writer = new FrameWriter()
  writer.begin(type, flags, id)
  write(writer)
  writer.end()
  return writer.take()
}

function taken(write: (writer: FrameWriter) => void): Buffer {
  const writer = new FrameWriter()
  write(writer)
  return writer.take()
}

function valid(meaning: string, bytes: Buffer): FrameVector {
  const [type = 0, flags = 0] = bytes
  return {
    meaning,
    hex: bytes.toString('hex'),
    frame: { type, flags, streamId: bytes.readUInt32BE(4), payloadBytes: bytes.readUInt16BE(2) },
  }
}

const HELLO = {
  versionMin: 1,
  versionMax: 1,
  features: 0n,
  streamsMax: 4096,
  sessionCredit: 262_144,
  streamCredit: 16_384,
}

function validFrames(): FrameVector[] {
  const head = {
    kind: KIND.unary,
    dataType: 11,
    timeoutMs: 5000,
    route: encodeRoute('eu-1', 'billing', 'grpc.health.v1.Health/Check'),
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    metadata: encodeMetadata({ tenant: 'acme' }),
  }
  return [
    valid(
      'HELLO: version 1 to 1, no features, 4096 streams, session credit 262144, stream credit 16384',
      taken((w) => {
        writeHello(w, HELLO)
      }),
    ),
    valid(
      'HELLO: the same with the features of sealed sessions, of extras and of HEADERS',
      taken((w) => {
        writeHello(w, { ...HELLO, features: FEATURES })
      }),
    ),
    valid(
      'PING with nonce 7',
      frame(FRAME.PING, 0, 0, (w) => {
        w.u64(7)
      }),
    ),
    valid(
      'PONG with nonce 7',
      frame(FRAME.PONG, 0, 0, (w) => {
        w.u64(7)
      }),
    ),
    valid(
      'GOAWAY: last id 9, GOING_AWAY, reconnect after 1500 ms, "upgrade", alternate gw-2:7443',
      taken((w) => {
        writeGoAway(w, {
          lastId: 9,
          code: 'GOING_AWAY',
          reconnectAfterMs: 1500,
          text: 'upgrade',
          alternates: ['gw-2:7443'],
        })
      }),
    ),
    valid(
      'WINDOW: the session may send up to byte 1000000',
      frame(FRAME.WINDOW, 0, 0, (w) => {
        w.u64(1_000_000)
      }),
    ),
    valid(
      'WINDOW: stream 5 may send up to byte 4294967296',
      frame(FRAME.WINDOW, 0, 5, (w) => {
        w.u64(4_294_967_296)
      }),
    ),
    valid(
      'OPEN with END of stream 1: unary grpc.health.v1.Health/Check of cluster eu-1 by billing, data type cluster-record, 5000 ms, trace context, metadata tenant=acme, body 0a00',
      frame(FRAME.OPEN, FLAG_END, 1, (w) => {
        w.u32(0)
        writeHead(w, head)
        w.bytes(Buffer.from('0a00', 'hex'))
      }),
    ),
    valid(
      'OPEN of stream 3: forward to service prometheus of cluster eu-1, credit 262144',
      frame(FRAME.OPEN, 0, 3, (w) => {
        w.u32(262_144)
        writeHead(w, {
          kind: KIND.forward,
          dataType: 0,
          timeoutMs: 0,
          route: encodeRoute('eu-1', '', 'prometheus'),
          traceparent: '',
          metadata: Buffer.alloc(0),
        })
      }),
    ),
    valid(
      'ACCEPT of stream 3: the opener may send up to byte 262144',
      frame(FRAME.ACCEPT, 0, 3, (w) => {
        w.u64(262_144)
      }),
    ),
    valid(
      'REFUSE of stream 3: POLICY_DENIED, no retry, "no"',
      taken((w) => {
        writeRefuse(w, 3, 'POLICY_DENIED', false, 'no')
      }),
    ),
    valid(
      'DATA of stream 3: "hello"',
      frame(FRAME.DATA, 0, 3, (w) => {
        w.bytes(Buffer.from('hello'))
      }),
    ),
    valid(
      'DATA with END of stream 3, empty: half-close',
      frame(FRAME.DATA, FLAG_END, 3, () => undefined),
    ),
    valid(
      'TRAILER of stream 1: OK, body 0801',
      frame(FRAME.TRAILER, 0, 1, (w) => {
        writeTrailer(w, 0, '', Buffer.alloc(0), Buffer.from('0801', 'hex'))
      }),
    ),
    valid(
      'TRAILER of stream 1: NOT_FOUND, "no such run", metadata run=7',
      frame(FRAME.TRAILER, 0, 1, (w) => {
        writeTrailer(w, 5, 'no such run', encodeMetadata({ run: '7' }), Buffer.alloc(0))
      }),
    ),
    valid(
      'RESET of stream 3: CANCELLED',
      frame(FRAME.RESET, 0, 3, (w) => {
        w.u16(16)
      }),
    ),
    valid(
      'STOP of stream 3: CANCELLED',
      frame(FRAME.STOP, 0, 3, (w) => {
        w.u16(16)
      }),
    ),
    valid(
      'HEADERS of stream 1: metadata served-by=eu-1a',
      frame(FRAME.HEADERS, 0, 1, (w) => {
        w.bytes(encodeMetadata({ 'served-by': 'eu-1a' }))
      }),
    ),
    valid(
      'HELLO with feature bit 63 and four bytes that a later version may define',
      Buffer.concat([
        Buffer.from('0100002000000000', 'hex'),
        Buffer.from('5053544e0001000180000000000000000000100000040000', 'hex'),
        Buffer.from('0000400000000000', 'hex'),
      ]),
    ),
    valid(
      'extension frame 0x90 on a stream that was never opened: ignored',
      frame(0x90, 0, 9, () => undefined),
    ),
    valid(
      'extension frame 0x90: ignored',
      frame(0x90, 0, 0, (w) => {
        w.u8(1)
      }),
    ),
  ]
}

/** Each is sent to an acceptor after a valid HELLO, and ends its session. */
function invalidFrames(): FrameVector[] {
  const bad = (meaning: string, hex: string, error = 'PROTOCOL_VIOLATION'): FrameVector => ({
    meaning,
    hex,
    error,
  })
  return [
    bad('type 0x06 is unknown', '0600000000000000'),
    bad('PING of 7 bytes', '02000007000000000000000000000000'.slice(0, 30)),
    bad('RESET of 3 bytes', '1500000300000001000000', 'FRAME_TOO_LARGE'),
    bad('DATA that announces 16377 bytes, on its header', '13003ff900000001', 'FRAME_TOO_LARGE'),
    bad(
      'extension frame that announces 65535 bytes, on its header',
      '9000ffff00000000',
      'FRAME_TOO_LARGE',
    ),
    bad(
      'HELLO again',
      taken((w) => {
        writeHello(w, HELLO)
      }).toString('hex'),
    ),
    bad('OPEN with an even id, from the dialler', '100100040000000200000000'),
    bad('DATA for stream 9, which was never opened', '130000010000000900'),
    bad('PING on stream 1', '02000008000000010000000000000001'),
    bad('RESET on the session', '15000002000000000010'),
    bad('HEADERS from the opener of a stream', '1700000000000001'),
    bad('HEADERS on the session', '1700000000000000'),
    bad('a limit of 2^64 - 1', '0500000800000000ffffffffffffffff'),
    bad(
      'GOAWAY whose text runs past its end',
      '0400000c00000000' + '00000000' + '0001' + '00000000' + 'ff' + '00',
    ),
  ]
}

/** Records what both sides send, batch by batch. */
class Recorder {
  readonly steps: { from: 'dialer' | 'acceptor'; hex: string; frames: string[] }[] = []
  readonly pair = new MuxPair({}, undefined, false)

  run(): void {
    for (;;) {
      const isDone = [this.#move('dialer'), this.#move('acceptor')].every((moved) => !moved)
      if (isDone) return
    }
  }

  #move(from: 'dialer' | 'acceptor'): boolean {
    const [sender, receiver]: MuxSide[] =
      from === 'dialer'
        ? [this.pair.dialer, this.pair.acceptor]
        : [this.pair.acceptor, this.pair.dialer]
    const bytes = sender?.take() ?? Buffer.alloc(0)
    if (bytes.length === 0) return false
    this.steps.push({ from, hex: bytes.toString('hex'), frames: describe(bytes) })
    receiver?.session.receive(bytes, 0)
    return true
  }
}

function describe(bytes: Buffer): string[] {
  const frames: string[] = []
  for (let at = 0; at < bytes.length; at += 8 + bytes.readUInt16BE(at + 2)) {
    const name = NAMES.get(bytes[at] ?? 0) ?? '?'
    const end = bytes[at + 1] === FLAG_END ? ' END' : ''
    frames.push(
      `${name}${end} stream ${String(bytes.readUInt32BE(at + 4))}, ${String(bytes.readUInt16BE(at + 2))} bytes`,
    )
  }
  return frames
}

function exchanges(): Exchange[] {
  const unary = new Recorder()
  unary.run()
  unary.pair.acceptor.onOpen = ({ stream }) => {
    answer(stream, 'pong')
  }
  unary.pair.dialer.open('ping', { isEnded: true, wantsData: false })
  unary.run()

  const real = new Recorder()
  real.run()
  real.pair.acceptor.onOpen = ({ stream }) => {
    const writer = stream.beginTrailer()
    writeTrailer(writer, 0, '', Buffer.alloc(0), Buffer.from('0801', 'hex'))
    stream.endTrailer(writer)
  }
  real.pair.dialer.session.beginOpen(new RecordingSink(), true, false)
  writeHead(real.pair.dialer.session.writer, {
    kind: KIND.unary,
    dataType: 0,
    timeoutMs: 5000,
    route: encodeRoute('eu-1', '', 'grpc.health.v1.Health/Check'),
    traceparent: '',
    metadata: encodeMetadata({ tenant: 'x' }),
  })
  real.pair.dialer.session.endOpen()
  real.run()

  const headed = new Recorder()
  headed.run()
  headed.pair.acceptor.onOpen = ({ stream }) => {
    const block = encodeMetadata({ 'served-by': 'eu-1a' })
    stream.accept(new RecordingSink())
    stream.writeHeaders(block, 0, block.length)
    stream.write(Buffer.from('the first byte'))
    stream.end()
  }
  const opened = headed.pair.dialer.open('ask', { wantsData: true })
  opened.stream.end()
  headed.run()

  const bytes = new Recorder()
  bytes.run()
  bytes.pair.acceptor.onOpen = ({ stream }) => {
    stream.accept(new RecordingSink())
    stream.write(Buffer.from('from the acceptor'))
    stream.end()
  }
  const { stream } = bytes.pair.dialer.open('forward')
  stream.write(Buffer.from('from the dialler'))
  stream.end()
  bytes.run()

  const refused = new Recorder()
  refused.run()
  refused.pair.acceptor.onOpen = (opened) => {
    opened.stream.refuse('POLICY_DENIED', false, 'no')
  }
  refused.pair.dialer.open('denied', { isEnded: true, wantsData: false })
  refused.run()
  refused.pair.acceptor.session.goAway('GOING_AWAY', 'upgrade', { reconnectAfterMs: 1000 })
  refused.run()
  return [
    {
      meaning:
        'hello, pings that measure the path, and a unary call: OPEN with END one way, TRAILER the other',
      steps: unary.steps,
    },
    {
      meaning:
        'grpc.health.v1.Health/Check of cluster eu-1, with head and trailer of section 6: deadline 5 s, metadata tenant=x, answer SERVING',
      steps: real.steps,
    },
    {
      meaning: 'an answer that begins with metadata: ACCEPT, HEADERS, then DATA',
      steps: headed.steps,
    },
    { meaning: 'a stream of bytes with early data, half-closed by both sides', steps: bytes.steps },
    { meaning: 'a stream that is refused, and then GOAWAY', steps: refused.steps },
  ]
}

/** The vector files by name, as they should be. */
export function vectorFiles(): ReadonlyMap<string, string> {
  const text = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`
  return new Map([
    ['frames.json', text({ valid: validFrames(), invalid: invalidFrames() })],
    ['exchanges.json', text(exchanges())],
    ['calls.json', text({ heads: headVectors(), trailers: trailerVectors() })],
  ])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of vectorFiles()) writeFileSync(`${ROOT}${name}`, text)
}
