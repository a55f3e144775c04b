import { expect } from 'chai'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ChildProcesses } from '../../scripts/child-processes.ts'
import { smoke } from '../support/smoke.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TSC = join(ROOT, 'node_modules/.bin/tsc')

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string
}

describe('the packed tarball', function () {
  let folder: string
  let tarball: string
  let children: ChildProcesses

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-tarball-'))
    children = new ChildProcesses(folder)
    // Of a copy without the sources: in a checkout they would stand in for what the package lacks.
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'pipe' })
    const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    tarball = join(folder, packed.trim().split('\n').at(-1) ?? '')
  })
  after(() => {
    children.killAll()
    rmSync(folder, { recursive: true, force: true })
  })

  const install = (cwd: string, ...args: string[]): void => {
    execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', ...args], {
      cwd,
      stdio: 'pipe',
    })
  }

  it('installs globally in an empty prefix, and both programs do what they are for', async () => {
    const prefix = join(folder, 'prefix')
    mkdirSync(prefix)
    install(folder, '--global', '--prefix', prefix, tarball)
    const work = join(folder, 'work')
    mkdirSync(work)
    for (const names of [
      { agent: 'agent', gateway: 'gateway' },
      { agent: 'postern-agent', gateway: 'postern-gateway' },
    ]) {
      const place = join(work, names.agent)
      mkdirSync(place)
      await smoke({
        version,
        folder: place,
        start: (program, ...args) =>
          children.start(`${program}-${args[0] ?? ''}`, join(prefix, 'bin', names[program]), args),
      })
    }
  })

  it('installs in an empty TypeScript project, with types for all that its functions return', () => {
    const project = join(folder, 'project')
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'x', type: 'module' }))
    install(project, tarball, '@types/node')
    const options = {
      compilerOptions: {
        ...{ target: 'es2024', module: 'nodenext', strict: true, noEmit: true },
        ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, types: ['node'] },
      },
    }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(options))
    writeFileSync(join(project, 'index.ts'), USE)
    expect(run(TSC, project)).to.equal('')
    // What resolves to any would pass everything, a mistake too.
    writeFileSync(join(project, 'index.ts'), USE.replace("{ service: '' }", '{ service: 7 }'))
    expect(run(TSC, project)).to.match(/index\.ts.*number.*string/s)
  })
})

function run(command: string, cwd: string): string {
  try {
    return execFileSync(command, [], { cwd, encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

const USE = `
import {
  connectGateway, connectGateways, Health, PosternError, RpcError,
  type CallChannel, type Cluster, type ClusterClient, type PooledCluster, type ErrorCode,
  type GatewayClient, type GatewayPool, type RpcChannel, type StatusName,
} from 'postern'

const files = { certificateFile: 'a.pem', keyFile: 'a.key', bundleFile: 'bundle.pem' }
const trustDomain = 'example.com'

export async function main(): Promise<StatusName | ErrorCode | undefined> {
  const many: GatewayPool = await connectGateways({
    addresses: [{ host: 'gw', port: 7444 }], trustDomain, files,
  })
  const one: GatewayClient = await connectGateway({ address: { host: 'gw', port: 7444 }, trustDomain, files })
  const lists: Cluster[][] = [await one.listClusters(), await many.listClusters()]
  const cluster: PooledCluster = many.cluster(lists[0]?.[0]?.name ?? 'c-1')
  const single: ClusterClient = one.cluster('c-1')
  const channels: [CallChannel, RpcChannel] = [cluster.channel, single.channel]
  try {
    const { status } = await cluster.service(Health).check({ service: '' }, { timeoutMs: 5000 })
    const left: number = status
    console.log(left, channels.length)
  } catch (error) {
    if (error instanceof RpcError) return error.status
    if (error instanceof PosternError) return error.code
  }
  many.close()
  return undefined
}
`
