import { toBinary, create } from '@bufbuild/protobuf'
import { expect } from 'chai'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import {
  DownloadRequestSchema,
  EchoRequestSchema,
} from '../../src/gen/postern/v1/diagnostics_pb.js'
import { KIND } from '../../src/wire/open-head.ts'
import type { Child } from '../../scripts/child-processes.ts'
import { Daemons } from '../support/daemons.ts'
import { DeafCaller } from '../support/deaf-caller.ts'
import { CALLER } from '../support/pki.ts'

const MIB = 1024 * 1024
const BUDGET_MIB = 32
/** Beyond the budget: V8's heap, buffers of one batch per connection, and what the kernel is handed. */
const CONSTANT_MIB = 480
const STREAMS = 1000

const DOWNLOAD = 'postern.v1.Diagnostics/Download'
const ECHO = 'postern.v1.Diagnostics/Echo'
const ECHO_STREAM = 'postern.v1.Diagnostics/EchoStream'
const UPLOAD = 'postern.v1.Diagnostics/Upload'

const large = toBinary(
  DownloadRequestSchema,
  create(DownloadRequestSchema, { messages: 1000, messageBytes: MIB }),
)
const echo = toBinary(
  EchoRequestSchema,
  create(EchoRequestSchema, { payload: Buffer.alloc(15_000) }),
)

describe('peers that ask and do not read', function () {
  let daemons: Daemons
  let gateway: Child
  let agent: Child
  let source: Server
  before(async () => {
    daemons = await Daemons.create()
    source = createServer((socket) => {
      socket.on('error', () => undefined)
      const chunk = Buffer.alloc(MIB)
      const more = (): void => {
        while (socket.write(chunk));
      }
      socket.on('drain', more)
      more()
    })
    await new Promise<void>((resolve) => source.listen(0, '127.0.0.1', resolve))
    const target = `tcp://127.0.0.1:${String((source.address() as AddressInfo).port)}`
    const limits = { bufferBytesMax: `${String(BUDGET_MIB)}MiB` }
    gateway = await daemons.startGateway({ limits })
    agent = await daemons.startAgent({
      limits,
      services: [{ name: 'flood', target, dataType: 'service-traffic' }],
    })
  })
  after(() => {
    daemons.stop()
    source.close()
  })

  /** Begins to look for the peak anew (proc(5), clear_refs). */
  const forgetPeak = ({ process: { pid } }: Child): void => {
    writeFileSync(`/proc/${String(pid)}/clear_refs`, '5')
  }
  const peakMib = ({ process: { pid } }: Child): number => {
    const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8')
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024
  }

  const cases: readonly (readonly [string, (caller: DeafCaller, cluster: string) => unknown])[] = [
    [
      'streams of large messages, without credit',
      (caller, cluster) =>
        caller.ask(KIND.serverStream, cluster, DOWNLOAD, { body: Buffer.from(large) }),
    ],
    [
      'the same, with a window of credit',
      (caller, cluster) =>
        caller.ask(KIND.serverStream, cluster, DOWNLOAD, {
          body: Buffer.from(large),
          hasCredit: true,
        }),
    ],
    [
      'answers of unary calls',
      (caller, cluster) => caller.ask(KIND.unary, cluster, ECHO, { body: Buffer.from(echo) }),
    ],
    [
      'watches',
      (caller, cluster) => caller.ask(KIND.serverStream, cluster, 'grpc.health.v1.Health/Watch'),
    ],
    [
      'streams both ways',
      (caller, cluster) => {
        const stream = caller.ask(KIND.bidi, cluster, ECHO_STREAM, { isEnded: false })
        const prefix = Buffer.alloc(4)
        prefix.writeUInt32BE(echo.length)
        for (let i = 0; i < 10; i++) stream?.pass(Buffer.concat([prefix, echo]))
        return stream
      },
    ],
    [
      'uploads that never end',
      (caller, cluster) => {
        const stream = caller.ask(KIND.clientStream, cluster, UPLOAD, { isEnded: false })
        const prefix = Buffer.alloc(4)
        prefix.writeUInt32BE(4 * MIB)
        stream?.pass(Buffer.concat([prefix, Buffer.alloc(200_000)]))
        return stream
      },
    ],
    [
      'forwards of a flood',
      (caller, cluster) => caller.ask(KIND.forward, cluster, 'flood', { isEnded: false }),
    ],
    [
      'forwards of a flood, with a window of credit',
      (caller, cluster) =>
        caller.ask(KIND.forward, cluster, 'flood', { isEnded: false, hasCredit: true }),
    ],
  ]
  for (const [what, ask] of cases)
    for (const cluster of ['', 'c-1'])
      for (const isMute of [false, true])
        it(`cannot make ${cluster === '' ? 'a gateway' : 'an agent'} hold more than its budget by ${what}${isMute ? ', the socket unread' : ''}`, async () => {
          forgetPeak(gateway)
          forgetPeak(agent)
          const caller = await DeafCaller.connect(
            daemons.callerPort,
            await daemons.pki.issue(CALLER),
          )
          for (let i = 0; i < STREAMS; i++) {
            if (isMute && i === 100) caller.mute()
            ask(caller, cluster)
            if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
          }
          await new Promise((resolve) => setTimeout(resolve, 100))
          const bound = BUDGET_MIB + CONSTANT_MIB
          expect([peakMib(gateway), peakMib(agent)].filter((mib) => mib > bound)).to.deep.equal([])
          caller.close()
          // And both go on for others.
          const { status, text } = await daemons.run(
            'gateway',
            'call',
            '--config',
            await daemons.settings('caller'),
            'c-1',
            'grpc.health.v1.Health/Check',
          )
          expect(status, text).to.equal(0)
        })
})
