import { expect } from 'chai'
import { createServer, connect, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import { CALLER } from '../support/pki.ts'
import { runCli, type CliRun } from '../support/run-cli.ts'
import { Stack } from '../support/stack.ts'

describe('the commands of sealed calls', function () {
  let stack: Stack
  let agent: Agent
  let keyFile: string
  let caller: string[]
  beforeEach(async () => {
    stack = await Stack.start()
    keyFile = join(stack.pki.folder, 'console-seal.key')
    const files = await stack.pki.issue(CALLER)
    caller = [
      ...['--gateway-address', `127.0.0.1:${String(stack.callerPort)}`],
      ...['--gateway-server-name', 'localhost', '--trust-domain', CALLER.trustDomain],
      ...['--identity-certificate-file', files.certificateFile],
      ...['--identity-key-file', files.keyFile, '--identity-bundle-file', files.bundleFile],
    ]
  })
  afterEach(() => {
    stack.stop()
  })

  const check = (...args: string[]): Promise<CliRun> =>
    runCli('gateway', ['call', 'c-1', 'grpc.health.v1.Health/Check', ...caller, ...args])

  async function made(): Promise<string> {
    const { stdout, stderr, status } = await runCli('gateway', ['seal', 'new', '--out', keyFile])
    expect(status).to.equal(0)
    expect(stderr).to.include('seal.callers: [{ caller: NAME, pin: "sha256:')
    return stdout.split(' ')[0] ?? ''
  }

  async function start(pin: string, flags: Record<string, string> = {}): Promise<string> {
    const callers = JSON.stringify([{ caller: 'console', pin }])
    agent = await stack.startAgent({ 'seal.callers': callers, ...flags })
    const state = agent.settings['state.directory']
    const { stdout } = await runCli('agent', ['seal', 'show', '--state-directory', state])
    return stdout.split(' ')[0] ?? ''
  }

  it('make and show keys, and call with them', async () => {
    const pin = await made()
    expect(statSync(keyFile).mode & 0o777).to.equal(0o600)
    const shown = await runCli('gateway', ['seal', 'show', '--seal-key-file', keyFile, '--json'])
    expect(JSON.parse(shown.stdout)).to.deep.equal({ pin, keyFile })
    const agentPin = await start(pin)
    expect(agentPin).to.equal(agent.report().seal.pin)
    const byPin = await check('--sealed', '--seal-key-file', keyFile, '--pin', agentPin)
    expect(byPin.stdout, byPin.stderr).to.include('SERVING')
    const clusters = JSON.stringify([{ cluster: 'c-1', pins: [agentPin] }])
    const byRow = await check('--sealed', '--seal-key-file', keyFile, '--seal-clusters', clusters)
    expect(byRow.stdout, byRow.stderr).to.include('SERVING')
  })

  it('forward sealed', async () => {
    const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const target = `tcp://127.0.0.1:${String((server.address() as AddressInfo).port)}`
    const agentPin = await start(await made(), {
      services: JSON.stringify([{ name: 'db', target, dataType: 'service-traffic' }]),
    })
    let stop: () => void = () => undefined
    const opened = Promise.withResolvers<number>()
    const running = runCli(
      'gateway',
      [
        ...['forward', 'c-1', 'db', '--json', '--sealed', '--seal-key-file', keyFile],
        ...['--pin', agentPin, ...caller],
      ],
      {},
      {
        onResult: (text) => {
          opened.resolve((JSON.parse(text) as { port: number }).port)
        },
        onStart: (end) => {
          stop = end
        },
      },
    )
    const socket = connect(await opened.promise, '127.0.0.1')
    socket.end('hello')
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).to.equal('hello')
    expect(agent.report().seal.sessions).to.equal(1)
    stop()
    expect((await running).status).to.equal(0)
    server.close()
  })

  it('say what is missing, and what is wrong, and send nothing', async () => {
    const pin = await made()
    const agentPin = await start(pin)
    const other = agentPin.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
    const cases: [string[], number, string][] = [
      [['--sealed'], 78, 'gateway seal new makes one'],
      [['--sealed', '--seal-key-file', keyFile], 78, 'agent seal show prints it'],
      [['--sealed', '--seal-key-file', `${keyFile}x`, '--pin', agentPin], 66, 'no such file'],
      [['--sealed', '--seal-key-file', keyFile, '--pin', 'sha256:12'], 64, '64 hex digits'],
      [['--pin', agentPin], 64, '--pin goes with --sealed'],
      [['--sealed', '--seal-key-file', keyFile, '--pin', other], 1, 'SEAL_REFUSED'],
      [['--seal-clusters', '[{"cluster":"c-1"}]'], 78, 'needs pins'],
      [['--seal-clusters', '[{"cluster":"c 1","pins":[]}]'], 78, 'needs pins'],
    ]
    for (const [args, status, text] of cases) {
      const found = await check(...args)
      expect(found.stderr, args.join(' ')).to.include(text)
      expect(found.status, found.stderr).to.equal(status)
    }
    const again = await runCli('gateway', ['seal', 'new', '--out', keyFile])
    expect([again.status, again.stderr]).to.deep.include(64)
    const none = await runCli('agent', ['seal', 'show', '--state-directory', stack.pki.folder])
    expect(none.stderr).to.include('agent run makes it when it first starts')
    expect(agent.report().guard.byType['cluster-record'].calls).to.equal(0)
  })
})
