import { codeOfForward } from '../support/code-of-forward.ts'
import { noteText } from '../support/seen.ts'
import { expect } from 'chai'
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js'
import { createServer as createHttpServer, type Server } from 'node:http'
import { readFileSync } from 'node:fs'
import { createServer as createHttpsServer } from 'node:https'
import { createServer, type AddressInfo } from 'node:net'
import { Duplex } from 'node:stream'
import { statusNow } from '../support/status-now.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { Health, RpcError } from '../../src/client.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { readProbe } from '../../src/config/probe-row.ts'
import { checkTarget } from '../../src/dataplane/check-target.ts'
import { HealthCheckResponse_ServingStatus as Status } from '../../src/gen/grpc/health/v1/health_pb.js'
import { eventually } from '../support/eventually.ts'
import { Fleet } from '../support/fleet.ts'
import { GATEWAY, TestPki } from '../support/pki.ts'

const FAST = { interval: '1s', timeout: '500ms', rise: 1, fall: 1, jitterPercent: 0 }

async function listen(server: {
  listen: Server['listen']
  address: Server['address']
}): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

describe('services that are probed', function () {
  let fleet: Fleet
  let target: Server
  let port: number
  let gateway: GatewayClient
  let isBroken: boolean

  beforeEach(async () => {
    isBroken = false
    target = createHttpServer((_, response) => {
      response.writeHead(isBroken ? 500 : 200).end('all is well')
    })
    port = await listen(target)
    fleet = await Fleet.start(1)
    gateway = await fleet.connect()
  })
  afterEach(() => {
    fleet.stop()
    target.close()
  })

  const flags = (probe: object) => ({
    services: JSON.stringify([
      { name: 'web', target: `http://127.0.0.1:${String(port)}`, dataType: 'cluster-record' },
    ]),
    probes: JSON.stringify([{ service: 'web', type: 'http', ...FAST, ...probe }]),
  })

  async function refusalOf(): Promise<string | undefined> {
    const socket = new Duplex({
      read: () => undefined,
      write: (_chunk, _encoding, done) => {
        done()
      },
    })
    const result = codeOfForward(gateway.cluster('c-1').forward('web', socket))
    setTimeout(() => socket.destroy(), 300)
    noteText((await result) ?? '')
    return await result
  }

  async function isServing(): Promise<boolean> {
    const { status } = await gateway.cluster('c-1').service(Health).check({ service: 'web' })
    return status === Status.SERVING
  }

  it('are refused by the gateway at once while they are down, and served again when they are up', async () => {
    const agent = await fleet.startAgent('a-1', flags({ body: 'all is well' }))
    await eventually(() => agent.services.healths.length === 1, 'it was looked at')
    await eventually(() => agent.tunnels.ready.length === 1, 'the tunnel is up')
    expect(await isServing()).to.equal(true)
    expect(await refusalOf()).to.equal('CONNECTION_LOST')
    isBroken = true
    await eventually(async () => (await refusalOf()) === 'SERVICE_DOWN', 'the gateway knows')
    expect(await isServing()).to.equal(false)
    const { health, reasons, services } = statusNow(agent, systemClock.wallMs())
    expect(health).to.equal('degraded')
    expect(reasons).to.deep.equal(['service web is down: http probe: it answered 500 to GET /'])
    expect(services[0]?.health).to.include({ up: false })
    const shown = await gateway.getCluster('c-1')
    expect(shown.tunnels[0]?.health[0]).to.include({ name: 'web', isDown: true })
    expect(shown.tunnels[0]?.capacity?.cpus).to.be.greaterThan(0)
    isBroken = false
    await eventually(isServing, 'it is up')
    await eventually(async () => (await refusalOf()) === 'CONNECTION_LOST', 'the gateway knows')
  })

  it('go to the agent that can reach them', async () => {
    await fleet.startAgent('a-1', flags({ body: 'another answer' }))
    const second = await fleet.startAgent('a-2', flags({}))
    const { registry } = fleet.at(0).gateway
    await eventually(() => registry.tunnelCount === 2, 'both are there')
    await eventually(async () => {
      const { tunnels } = await gateway.getCluster('c-1')
      return tunnels.filter(({ health }) => health.length === 1).length === 2
    }, 'both have told')
    for (let i = 0; i < 5; i++) expect(await refusalOf()).to.equal('CONNECTION_LOST')
    expect(second.guard.guard.allowed).to.equal(5)
  })

  it('heartbeats are not believed beyond what the agent offers, and are refused when they are many', async () => {
    const agent = await fleet.startAgent('a-1')
    await eventually(() => agent.tunnels.ready.length === 1, 'the tunnel is up')
    const [ready] = agent.tunnels.ready
    const beat = async (services: object[]) => {
      const { Tunnel } = await import('../../src/gen/postern/v1/tunnel_pb.js')
      const { clientOf } = await import('../../src/rpc/typed.ts')
      const channel = ready?.connection.channel()
      if (channel === undefined) throw new Error('no tunnel')
      await clientOf(Tunnel, channel).heartbeat({ services })
    }
    const errorOf = (error: unknown) => (error as RpcError).rawMessage.split(':')[0]
    const many = Array.from({ length: 1025 }, (_, index) => ({ name: `x-${String(index)}` }))
    expect(await beat(many).catch(errorOf)).to.equal('MALFORMED_CALL')
    await beat([{ name: 'x', isDown: true, sinceMs: 2n ** 62n }])
    expect(fleet.at(0).gateway.registry.clusters.get('c-1')?.[0]?.report?.services).to.deep.equal(
      [],
    )
    const results = await Promise.all(Array.from({ length: 60 }, () => beat([]).catch(errorOf)))
    expect(results).to.include('FLOOD')
  })
})

describe('a look at a target', () => {
  const errorOf = (error: unknown) => (error as Error).message

  async function look(port: number, row: object): Promise<string | undefined> {
    const probe = readProbe({ service: 'x', ...row })
    const target = { host: '127.0.0.1', port }
    return await checkTarget(probe, target, AbortSignal.timeout(1000)).then(
      () => undefined,
      errorOf,
    )
  }

  it('by TCP tells open from closed', async () => {
    const server = createServer((socket) => socket.end())
    const port = await listen(server as never)
    expect(await look(port, { type: 'tcp' })).to.equal(undefined)
    server.close()
    expect(await look(port, { type: 'tcp' })).to.include('ECONNREFUSED')
  })

  it('by HTTP judges status and body, of which it reads a part', async () => {
    const server = createHttpServer((request, response) => {
      response.writeHead(request.url === '/teapot' ? 418 : 200)
      response.end(request.url === '/long' ? 'x'.repeat(1_000_000) : 'fine')
    })
    const port = await listen(server)
    expect(await look(port, { type: 'http' })).to.equal(undefined)
    expect(await look(port, { type: 'http', path: '/teapot' })).to.include('it answered 418')
    expect(await look(port, { type: 'http', path: '/teapot', status: 418 })).to.equal(undefined)
    expect(await look(port, { type: 'http', body: '^bad$' })).to.include('does not match')
    expect(await look(port, { type: 'http', path: '/long', body: 'x{9}' })).to.equal(undefined)
    expect(await look(port, { type: 'https' })).to.include('did not answer')
    server.close()
  })

  it('by HTTPS trusts the roots that are named, and no others', async () => {
    const pki = await TestPki.create()
    const { certificateFile, keyFile, bundleFile } = await pki.issue(GATEWAY)
    const tls = { cert: readFileSync(certificateFile), key: readFileSync(keyFile) }
    const server = createHttpsServer(tls, (_, response) => response.end('fine'))
    const port = await listen(server)
    const probe = (row: object) => {
      const read = readProbe({ service: 'x', type: 'https', ...row })
      const target = { host: 'localhost', port }
      return checkTarget(read, target, AbortSignal.timeout(1000)).then(() => undefined, errorOf)
    }
    const fine = await probe({ caFile: bundleFile, body: 'fine' })
    expect(fine, fine).to.equal(undefined)
    expect(await probe({})).to.match(/UNABLE_TO|SELF_SIGNED/)
    server.close()
    const silent = createServer((socket) => socket.on('error', () => undefined))
    const at = { host: '127.0.0.1', port: await listen(silent as never) }
    const read = readProbe({ service: 'x', type: 'https' })
    const late = await checkTarget(read, at, AbortSignal.timeout(200)).then(
      () => undefined,
      errorOf,
    )
    expect(late).to.include('did not answer')
    silent.close()
  })

  it('by gRPC asks the health service of another implementation', async () => {
    const server = new GrpcServer()
    const identity = (bytes: Buffer): Buffer => bytes
    const check = {
      path: '/grpc.health.v1.Health/Check',
      requestStream: false,
      responseStream: false,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    } as const
    server.addService(
      { check },
      {
        check: (
          call: { request: Buffer },
          done: (error: object | null, value?: Buffer) => void,
        ) => {
          const name = call.request.subarray(2).toString()
          if (name === 'unknown') done({ code: 5, details: 'no such service' })
          else done(null, Buffer.from(name === 'bad' ? [8, 2] : [8, 1]))
        },
      },
    )
    const port = await new Promise<number>((resolve) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (_error, bound) => {
        resolve(bound)
      })
    })
    expect(await look(port, { type: 'grpc' })).to.equal(undefined)
    expect(await look(port, { type: 'grpc', grpcService: 'bad' })).to.include('not SERVING')
    expect(await look(port, { type: 'grpc', grpcService: 'unknown' })).to.include('gRPC status 5')
    server.forceShutdown()
    expect(await look(port, { type: 'grpc' })).to.match(/the target did not (answer|take)/)
  })

  it('by a command takes its exit status, and ends it when the time is over', async () => {
    expect(await look(1, { type: 'exec', command: ['true'] })).to.equal(undefined)
    expect(await look(1, { type: 'exec', command: ['false'] })).to.include('the command failed (1)')
    const seen = ['sh', '-c', 'test -z "$POSTERN_CONFIG$HOME"']
    expect(await look(1, { type: 'exec', command: seen })).to.equal(undefined)
    expect(await look(1, { type: 'exec', command: ['sleep', '30'] })).to.include('failed')
    const killed = ['sh', '-c', 'echo the secret of the customer >&2; kill -9 $$']
    const reason = await look(1, { type: 'exec', command: killed })
    expect(reason).to.include('the command failed (SIGKILL)').and.not.include('secret')
  })
})
