import { expect } from 'chai'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ChildProcesses } from '../../scripts/child-processes.ts'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT, TRUST_DOMAIN } from '../support/pki.ts'
import { smoke } from '../support/smoke.ts'
import { Stack } from '../support/stack.ts'
import { unnamedTypes } from '../support/unnamed-types.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TSC = join(ROOT, 'node_modules/.bin/tsc')

const SERVING = readFileSync(join(ROOT, 'docs/SERVING.md'), 'utf8')
/** As docs/SERVING.md shows it in two places. */
const ACME = `syntax = "proto3";
package acme.v1;
${/```proto\n(.*?)```/s.exec(SERVING)?.[1] ?? ''}
${/`(message Job \{.*?\})`/.exec(SERVING)?.[1] ?? ''}
`
const POLICY = 'version: 1\nrules: [{ name: all, callers: ["*"], methods: ["*"] }]\n'

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

  it('is an agent in a TypeScript program, as docs/SERVING.md says', async () => {
    const project = join(folder, 'project')
    mkdirSync(join(project, 'src'), { recursive: true })
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'x', type: 'module' }))
    install(project, tarball, '@bufbuild/protobuf', '@bufbuild/protoc-gen-es', '@types/node')
    const options = {
      compilerOptions: {
        ...{ target: 'es2024', module: 'nodenext', strict: true, types: ['node'] },
        ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
        ...{ outDir: 'out', rootDir: 'src', skipLibCheck: false },
      },
    }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(options))
    writeFileSync(join(project, 'acme.proto'), ACME)
    const [, generate = ''] = /^\$ (PATH=.* protoc .*)$/m.exec(SERVING) ?? []
    execFileSync('sh', ['-c', generate], { cwd: project, stdio: 'pipe' })
    const [, text = ''] = /```ts\n(.*?)```/s.exec(SERVING) ?? []
    const stack = await Stack.start()
    try {
      writeFileSync(join(project, 'policy.yaml'), POLICY)
      writeFileSync(join(project, 'agent.yaml'), settingsFor(stack, await stack.pki.issue(AGENT)))
      writeFileSync(join(project, 'src/index.ts'), text)
      expect(run(TSC, project)).to.equal('')
      const started = children.start('embedded', 'sh', [
        ...['-c', `cd ${project} && exec node out/index.js`],
      ])
      await eventually(() => started.text.includes('healthy'), 'it is up')
      const { channel } = (await stack.connect()).cluster('c-1')
      const job = Buffer.from([0x0a, 1, 0x78])
      const answer = await channel.unary('acme.v1.Jobs/Get', job)
      expect(answer.toString('hex')).to.equal('0a01781007')
      const error = await channel
        .unary('acme.v1.Jobs/Get', Buffer.alloc(0))
        .catch((e: unknown) => e)
      expect(error).to.include({ status: 'INVALID_ARGUMENT', rawMessage: 'name: a job has one' })
      expect(started.text).to.include('tester asks for x')
      started.process.kill('SIGTERM')
      expect(await started.ended).to.equal(0)
    } finally {
      stack.stop()
    }
    // What resolves to any would pass everything, a mistake too.
    writeFileSync(join(project, 'src/index.ts'), text.replace('size: 7n', "size: 'x'"))
    expect(run(TSC, project)).to.match(/index\.ts.*string.*bigint/s)
  })

  it('lets every type be named that appears in what it exports', () => {
    expect(unnamedTypes(join(ROOT, 'dist/embedded-agent.d.ts'))).to.deep.equal([])
  })
})

function run(command: string, cwd: string): string {
  try {
    return execFileSync(command, [], { cwd, encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

function settingsFor(stack: Stack, files: KeyFilePaths): string {
  return `trustDomain: ${TRUST_DOMAIN}
gateway:
  address: 127.0.0.1:${String(stack.agentPort)}
  serverName: localhost
identity:
  certificateFile: ${files.certificateFile}
  keyFile: ${files.keyFile}
  bundleFile: ${files.bundleFile}
state:
  directory: ./state
policy:
  file: ./policy.yaml
`
}
