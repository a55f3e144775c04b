import { refuseStreams } from '../../src/mux/session-owner.ts'
import { expect } from 'chai'
import { PosternError } from '../../src/base/errors.ts'
import { readCredential } from '../../src/identity/key-files.ts'
import { dialTls } from '../../src/transport/tls-dial.ts'
import { RpcConnection } from '../../src/tunnel/rpc-connection.ts'
import { encodeRoute, writeHead, type Kind } from '../../src/wire/open-head.ts'
import { eventually } from '../support/eventually.ts'
import { CALLER, TRUST_DOMAIN } from '../support/pki.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { Stack } from '../support/stack.ts'

const CHECK = 'grpc.health.v1.Health/Check'
const NONE = Buffer.alloc(0)

describe('heads that break the protocol', function () {
  let stack: Stack
  let connection: RpcConnection
  before(async () => {
    stack = await Stack.start()
    await stack.startAgent()
    const credential = readCredential(await stack.pki.issue(CALLER), 'caller', Date.now())
    const address = { host: '127.0.0.1', port: stack.callerPort, serverName: 'localhost' }
    const expected = { trustDomain: TRUST_DOMAIN, roles: ['gateway' as const] }
    const signal = AbortSignal.timeout(5000)
    const wire = await dialTls({ ...address, credential, expected, signal, nowMs: Date.now() })
    connection = await new Promise((resolve) => {
      new RpcConnection(wire, 'dialer', stack.gateway.parts, {
        onReady: resolve,
        streams: refuseStreams(''),
        onClosed: () => undefined,
      })
    })
  })
  after(() => {
    connection.close(new PosternError('SHUTDOWN', 'done'))
    stack.stop()
  })

  async function answerTo(
    head: { kind?: number; name?: string; metadata?: Buffer; traceparent?: string },
    isEnded = true,
    body = NONE,
  ): Promise<string> {
    const { kind = 1, name = CHECK, metadata = NONE, traceparent = '' } = head
    const sink = new RecordingSink()
    const { session } = connection
    session.beginOpen(sink, isEnded, true)
    const route = encodeRoute('c-1', '', name)
    const fields = { kind: kind as Kind, dataType: 0, timeoutMs: 0, route, traceparent, metadata }
    writeHead(session.writer, fields)
    session.writer.bytes(body)
    session.endOpen()
    return await eventually(() => sink.events[0], 'an answer')
  }

  it('are refused as malformed, and the session goes on', async () => {
    const upper = Buffer.from('0141000178', 'hex')
    const pastEnd = Buffer.from('01610005', 'hex')
    const control = Buffer.from('016100010a', 'hex')
    for (const answer of [
      answerTo({ kind: 0 }),
      answerTo({ kind: 7 }),
      answerTo({ metadata: upper }),
      answerTo({ metadata: pastEnd }),
      answerTo({ metadata: control }),
      answerTo({}, false, Buffer.from('body')),
      answerTo({ kind: 3, name: 'postern.v1.Diagnostics/Upload' }, true, Buffer.from('body')),
    ])
      expect(await answer).to.match(/^refuse MALFORMED_CALL/)
    const many = Buffer.concat(Array.from({ length: 65 }, () => Buffer.from('0161000162', 'hex')))
    expect(await answerTo({ metadata: many })).to.match(/^refuse (MALFORMED_CALL|HEAD_TOO_LARGE)/)
    expect(await answerTo({})).to.match(/^trailer/)
  })

  it('lose a trace context of another form, and nothing else', async () => {
    expect(await answerTo({ traceparent: 'nonsense' })).to.match(/^trailer/)
  })
})
