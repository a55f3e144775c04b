import { expect } from 'chai'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { Runs } from '../../src/gen/postern/v1/runs_pb.js'
import { plainData } from '../../src/contract/data-type.ts'
import type { RpcError } from '../../src/rpc/status.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { noteText } from '../support/seen.ts'

const CHECK = 'grpc.health.v1.Health/Check'

describe('roles of callers', function () {
  let plane: ControlPlane
  let client: GatewayClient
  before(async () => {
    plane = await ControlPlane.start({ 'callers.roles': 'required' })
    for (const [name, cluster] of [
      ['a-1', 'c-1'],
      ['b-1', 'c-2'],
    ] as const) {
      await plane.enroll(name, { cluster })
      const agent = plane.startAgent(name)
      await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
      agent.services.server.offer({
        name: 'test.T/Last',
        data: plainData('cluster-record'),
        handler: {
          kind: 'serverStream',
          async *handle(_request, { signal }) {
            yield Buffer.from('on')
            await new Promise((resolve) => {
              signal.addEventListener('abort', resolve)
            })
          },
        },
      })
    }
    client = await plane.connect('console')
  })
  after(() => {
    plane.stop()
  })

  const failure = async (cluster: string, method = CHECK): Promise<RpcError> => {
    const call = client.cluster(cluster).channel.unary(method, Buffer.alloc(0))
    const error = (await call.catch((cause: unknown) => cause)) as RpcError
    noteText(String(error.code))
    return error
  }
  const grant = (...words: readonly string[]) =>
    plane.command('roles', 'grant', ...words, '--callers-roles', 'required')
  const inForce = async (isThere: boolean): Promise<void> => {
    await eventually(async () => {
      const clusters = await client.listClusters().catch(() => [])
      return clusters.length > 0 === isThere
    }, 'the gateway has seen the change')
  }

  it('let nobody see or use anything without one, where the setting says so', async () => {
    const known = await failure('c-1')
    const unknown = await failure('c-9')
    expect(known.code).to.equal('CLUSTER_UNKNOWN')
    const alike = ({ message, status, notStarted }: RpcError) => ({ message, status, notStarted })
    expect(alike(known)).to.deep.equal({
      ...alike(unknown),
      message: unknown.message.replace('c-9', 'c-1'),
    })
    const listed = await client.listClusters().catch((cause: unknown) => cause as RpcError)
    expect(listed).to.include({ code: 'POLICY_DENIED' })
  })

  it('let callers use what they name, in lists too, within a second', async () => {
    const run = await grant(
      'ops',
      '--callers',
      'console',
      '--clusters',
      'c-1',
      '--methods',
      `${CHECK},test.T/Last`,
    )
    expect(run).to.include({ status: 0, stdout: 'role ops is granted', stderr: '' })
    await inForce(true)
    expect((await client.listClusters()).map(({ name }) => name)).to.deep.equal(['c-1'])
    const { tunnels } = await client.getCluster('c-1')
    expect(tunnels[0]?.methods.map(({ name }) => name)).to.deep.equal([CHECK])
    await client.cluster('c-1').channel.unary(CHECK, Buffer.alloc(0))
    expect((await failure('c-1', 'postern.v1.Diagnostics/Echo')).code).to.equal('POLICY_DENIED')
    expect((await failure('c-2')).code).to.equal('CLUSTER_UNKNOWN')
    const other = await client.getCluster('c-2').catch((cause: unknown) => cause as RpcError)
    expect(other).to.include({ status: 'NOT_FOUND' })
    const runs = client.self().service(Runs).list({ cluster: 'c-2' })
    expect(await runs.catch((cause: unknown) => cause)).to.include({ status: 'PERMISSION_DENIED' })
    expect((await client.self().service(Runs).list({ cluster: 'c-1' })).events).to.deep.equal([])
  })

  it('say by the command what the gateway would decide', async () => {
    const asked = ['--caller', 'console', '--cluster', 'c-1', '--method']
    const may = await plane.command('roles', 'test', ...asked, CHECK, '--callers-roles', 'required')
    expect(may).to.include({ status: 0, stdout: 'ALLOW  role ops' })
    const not = await plane.command(
      'roles',
      'test',
      ...asked,
      'a.B/C',
      '--callers-roles',
      'required',
    )
    expect(not.status).to.equal(1)
    expect(not.stdout).to.equal('DENY   POLICY_DENIED: no role of this caller allows a.B/C')
    const open = await plane.command('roles', 'test', ...asked, 'a.B/C')
    expect(open.stdout).to.equal('ALLOW  callers with certificates need no role')
    const token = [
      '--issuer',
      'https://x',
      '--subject',
      'anna',
      '--cluster',
      'c-1',
      '--service',
      'db',
    ]
    const { status, stdout } = await plane.command('roles', 'test', ...token, '--json')
    expect(status).to.equal(1)
    expect(JSON.parse(stdout)).to.deep.equal({
      allowed: false,
      role: null,
      text: 'CLUSTER_UNKNOWN: no tunnel of cluster c-1 is connected',
    })
    const listed = await plane.command('roles', 'list')
    expect(listed.stdout).to.match(
      /ops +console +c-1 +grpc\.health\.v1\.Health\/Check, test\.T\/Last/,
    )
    expect(JSON.parse((await plane.command('roles', 'list', '--json')).stdout)).to.have.length(1)
  })

  it('end streams when they are taken away, and the lists with them', async () => {
    const stream = client.cluster('c-1').channel.serverStream('test.T/Last', Buffer.alloc(0))
    const iterator = stream[Symbol.asyncIterator]()
    expect(String((await iterator.next()).value)).to.equal('on')
    const ended = iterator.next().catch((cause: unknown) => cause as RpcError)
    expect((await plane.command('roles', 'revoke', 'ops')).stdout).to.equal('role ops is revoked')
    expect(await ended).to.include({ code: 'POLICY_DENIED' })
    await inForce(false)
    expect((await plane.command('roles', 'revoke', 'ops')).status).to.equal(1)
  })

  it('take a wrong command for what it is, and change nothing', async () => {
    for (const [words, text] of [
      [['x', '--clusters', '*', '--methods', '*'], 'a role needs callers'],
      [['x', '--subjects', 'a', '--clusters', '*', '--methods', '*'], 'go with --issuer'],
      [
        ['x', '--issuer', 'https://x', '--clusters', '*', '--methods', '*'],
        'needs --subjects or --groups',
      ],
      [['x', '--callers', 'a', '--clusters', '*'], 'needs methods or services'],
    ] as const) {
      const { status, stderr } = await grant(...words)
      expect([status, stderr]).to.satisfy(
        ([code, said]: [number, string]) => code === 64 && said.includes(text),
        stderr,
      )
    }
    expect((await plane.command('roles', 'list', '--json')).stdout).to.equal('[]')
    const everything = ['--clusters', '*', '--methods', '*']
    const noted = await plane.command('roles', 'grant', 'x', '--callers', 'a', ...everything)
    expect(noted.stderr).to.include('callers.roles is optional')
  })
})
