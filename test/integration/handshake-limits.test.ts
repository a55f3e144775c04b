import { expect } from 'chai'
import { connect as connectPlain, type Socket } from 'node:net'
import { readFileSync } from 'node:fs'
import { connect } from 'node:tls'
import { eventually } from '../support/eventually.ts'
import { AGENT } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

describe('before authentication', function () {
  let stack: Stack
  beforeEach(async () => {
    stack = await Stack.start()
  })
  afterEach(() => {
    stack.stop()
  })

  async function refusal(): Promise<Readonly<Record<string, unknown>>> {
    const line = await eventually(
      () => stack.log.lines.find(({ facts }) => facts.code === 'HANDSHAKE_LIMIT'),
      'a log line',
    )
    return line.facts
  }

  it('closes what is too slow, and a flood of half-open connections does not delay an agent', async () => {
    stack.stop()
    stack = await Stack.start({
      'handshake.timeout': '1s',
      'handshake.pendingMax': '50',
      'handshake.pendingPerAddressMax': '50',
    })
    const idle: Socket[] = []
    for (let i = 0; i < 300; i++) {
      const socket = connectPlain(stack.agentPort, '127.0.0.1')
      socket.on('error', () => undefined)
      idle.push(socket)
    }
    const agent = await stack.startAgent()
    expect(agent.tunnel.lastError).to.equal(undefined)
    await eventually(
      () => idle.every((socket) => socket.destroyed || socket.readyState !== 'open'),
      'all half-open ones are closed',
    )
    expect((await refusal()).peer).to.include('127.0.0.1')
  })

  it('closes a peer that sends too many bytes', async () => {
    const socket = connectPlain(stack.agentPort, '127.0.0.1')
    socket.on('error', () => undefined)
    // A record of 16 KiB that claims to be a handshake, again and again, never complete.
    const record = Buffer.concat([
      Buffer.from([0x16, 3, 1, 0x40, 0]),
      Buffer.from([1, 0, 0xff, 0xff]),
      Buffer.alloc(16_380),
    ])
    socket.write(record.subarray(0, 16_000))
    const timer = setInterval(() => socket.write(Buffer.alloc(600)), 20)
    await eventually(() => socket.destroyed, 'closed')
    clearInterval(timer)
  })

  it('closes a slow-drip client in time', async () => {
    stack.stop()
    stack = await Stack.start({ 'handshake.timeout': '500ms' })
    const socket = connectPlain(stack.agentPort, '127.0.0.1')
    socket.on('error', () => undefined)
    const hello = Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc])
    let at = 0
    const timer = setInterval(() => {
      if (at < hello.length) socket.write(hello.subarray(at, ++at))
    }, 50)
    await eventually(() => socket.destroyed, 'closed')
    clearInterval(timer)
  })

  it('closes an agent that authenticates and never registers', async () => {
    stack.stop()
    stack = await Stack.start({ 'handshake.timeout': '300ms' })
    const files = await stack.pki.issue(AGENT)
    const socket = connect({
      host: '127.0.0.1',
      port: stack.agentPort,
      servername: 'localhost',
      ALPNProtocols: ['postern/1'],
      ca: readFileSync(stack.pki.bundleFile),
      cert: readFileSync(files.certificateFile),
      key: readFileSync(files.keyFile),
    })
    socket.resume()
    await eventually(() => socket.destroyed, 'closed')
    await eventually(() => stack.log.find('agent left before it registered'), 'a log line')
  })
})
