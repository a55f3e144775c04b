import { expect } from 'chai'
import { spawn, type ChildProcess } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Diagnostics, RpcError } from '../../src/client.ts'
import { connectPool } from '../../src/caller/gateway-pool.ts'
import { CallerRenewal, finishRenewal } from '../../src/cli/caller/renewal.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { runCli } from '../support/run-cli.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

describe('a caller that lasts', function () {
  let plane: ControlPlane
  let target: Server
  let forward: ChildProcess | undefined
  let said = ''

  beforeEach(async () => {
    target = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.pipe(socket)
    })
    await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
    const address = `tcp://127.0.0.1:${String((target.address() as AddressInfo).port)}`
    const agent = plane.startAgent('a-1', {
      services: JSON.stringify([{ name: 'echo', target: address, dataType: 'service-traffic' }]),
    })
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
  })
  afterEach(() => {
    forward?.kill('SIGKILL')
    forward = undefined
    target.close()
    plane.stop()
  })

  const issue = async (): Promise<string> => {
    const dir = join(plane.folder, 'callers')
    const { status, stderr } = await plane.command(
      'certs',
      'issue',
      '--caller',
      'dba',
      '--dir',
      dir,
    )
    expect(status, stderr).to.equal(0)
    const file = join(dir, 'dba.yaml')
    const { callers, renew } = plane.addresses
    const text = readFileSync(file, 'utf8')
      .replace(/address: .*/, `address: 127.0.0.1:${String(callers.port)}`)
      .replace(/renewUrl: .*/, `renewUrl: https://localhost:${String(renew?.port)}`)
    writeFileSync(file, text)
    return file
  }
  const start = async (config: string): Promise<number> => {
    said = ''
    const args = [`${ROOT}bin/gateway.js`, 'forward', 'c-1', 'echo', '--config', config]
    const child = spawn(process.execPath, args)
    forward = child
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const port = await eventually(() => /forwarding 127.0.0.1:(\d+)/.exec(said)?.[1], 'it listens')
    return Number(port)
  }
  const echo = async (port: number, text: string): Promise<string> =>
    await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(text))
      socket.on('error', () => undefined)
      socket.once('data', (chunk: Buffer) => {
        resolve(chunk.toString())
        socket.destroy()
      })
      socket.once('close', () => {
        resolve('closed')
      })
    })

  it('forwards over a restart of the gateway, and after its certificate was renewed elsewhere', async () => {
    const port = await start(await issue())
    expect(await echo(port, 'one')).to.equal('one')
    plane.gateway.stop()
    const meanwhile = echo(port, 'two')
    await plane.startGateway(plane.sameAddresses)
    expect(await meanwhile).to.equal('two')
    await issue()
    await eventually(() => plane.gateway.callers.report().callers === 1, 'one connection is left')
    expect(await echo(port, 'three')).to.equal('three')
    expect(forward?.exitCode).to.equal(null)
  })

  it('says at once that a cluster or service is not there', async () => {
    const config = await issue()
    for (const [cluster, service, code] of [
      ['c-9', 'echo', 'c-9'],
      ['c-1', 'nope', 'METHOD_UNKNOWN'],
    ] as const) {
      const { status, stderr } = await runCli('gateway', [
        ...['forward', cluster, service, '--config', config],
      ])
      expect([status, stderr]).to.satisfy(
        ([exit, text]: [number, string]) => exit === 1 && text.includes(code),
        stderr,
      )
    }
  })

  it('reads settings whose folder was copied', async () => {
    const config = await issue()
    const copy = join(plane.folder, 'elsewhere')
    cpSync(join(config, '..'), copy, { recursive: true })
    const { status, stderr } = await runCli('gateway', [
      ...['clusters', 'list', '--config', join(copy, 'dba.yaml')],
    ])
    expect(status, stderr).to.equal(0)
    expect(readFileSync(config, 'utf8')).to.include('certificateFile: "./dba.pem"')
  })

  it('renews its certificate in the files that hold it, and finishes what a crash cut short', async () => {
    const config = await issue()
    const at = (name: string): string => join(config, '..', name)
    const files = {
      certificateFile: at('dba.pem'),
      keyFile: at('dba.key'),
      bundleFile: at('bundle.pem'),
    }
    const before = readFileSync(files.certificateFile, 'utf8')
    const later = { ...systemClock, wallMs: () => systemClock.wallMs() + 21 * 86_400_000 }
    const outcome = await new Promise<string>((resolve) => {
      const renewal = new CallerRenewal({
        files,
        renewUrl: new URL(`https://localhost:${String(plane.addresses.renew?.port)}`),
        trustDomain: DOMAIN,
        clock: later,
        onRenewed: () => {
          resolve('renewed')
        },
        onFailed: ({ message }) => {
          resolve(message)
        },
      })
      renewal.start()
      renewal.stop()
    })
    expect(outcome).to.equal('renewed')
    const after = readFileSync(files.certificateFile, 'utf8')
    expect(after).not.to.equal(before)
    // The key was written, and the certificate was not put in its place.
    writeFileSync(files.certificateFile, before)
    writeFileSync(`${files.certificateFile}.next`, after)
    finishRenewal(files, Date.now())
    expect(readFileSync(files.certificateFile, 'utf8')).to.equal(after)
    const list = await runCli('gateway', ['clusters', 'list', '--config', config])
    expect(list.status, list.stderr).to.equal(0)
  })

  it('settles every call of a library user, whatever becomes of the gateways', async () => {
    const config = await issue()
    const at = (name: string): string => join(config, '..', name)
    const gateways = await connectPool({
      addresses: [{ host: '127.0.0.1', port: plane.addresses.callers.port }],
      serverName: 'localhost',
      trustDomain: DOMAIN,
      credentials: {
        certificateFile: at('dba.pem'),
        keyFile: at('dba.key'),
        bundleFile: at('bundle.pem'),
      },
    })
    expect((await gateways.listClusters()).map(({ name }) => name)).to.deep.equal(['c-1'])
    const unknown = gateways.cluster('c-9').service(Diagnostics).echo({})
    const pending = gateways.cluster('c-9').service(Diagnostics).echo({}, { timeoutMs: 0 })
    setTimeout(() => {
      gateways.close()
    }, 200)
    for (const call of [unknown, pending]) {
      const error = await call.catch((cause: unknown) => cause)
      expect(error).to.be.instanceOf(RpcError)
      expect((error as RpcError).code).to.equal('SHUTDOWN')
    }
  })
})
