import { expect } from 'chai'
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, connect, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { CALLER, TRUST_DOMAIN } from '../support/pki.ts'
import { SealedStack } from '../support/sealed-stack.ts'
import { unnamedTypes } from '../support/unnamed-types.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PACKAGE = join(ROOT, 'packages/client')
const TSC = join(ROOT, 'node_modules/.bin/tsc')
const POLICY =
  'version: 1\nrules: [{ name: all, callers: ["*", "*@first-hand"], methods: ["*"], services: [echo] }]\n'
const OPTIONS = {
  compilerOptions: {
    ...{ target: 'es2024', module: 'nodenext', strict: true, types: ['node'] },
    ...{
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      outDir: 'out',
      rootDir: 'src',
    },
  },
}

/** What docs/CLIENT.md shows, in order. */
const EXAMPLES = [
  ...readFileSync(join(ROOT, 'docs/CLIENT.md'), 'utf8').matchAll(/```ts\n(.*?)```/gs),
].map(([, text = '']) => text)

interface Manifest {
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
}

const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

describe('@postern/client', function () {
  let at: SealedStack
  let echo: Server
  let folder: string
  let port = 0
  let child: ChildProcess | undefined

  before(async () => {
    echo = createServer((socket) => {
      socket.on('error', () => undefined).pipe(socket)
    })
    echo.listen(0, '127.0.0.1')
    await once(echo, 'listening')
    const target = `tcp://127.0.0.1:${String((echo.address() as AddressInfo).port)}`
    const services = [{ name: 'echo', target, dataType: 'service-traffic' }]
    at = await SealedStack.start({ services: JSON.stringify(services) }, POLICY)
    port = await freePort()
    folder = mkdtempSync(join(tmpdir(), 'postern-client-'))
    execFileSync('node', ['scripts/build-client.ts'], { cwd: ROOT, stdio: 'pipe' })
    const pack = ['pack', '--silent', '--pack-destination', folder]
    const packed = execFileSync('npm', pack, { cwd: PACKAGE, encoding: 'utf8' })
    const tarball = join(folder, packed.trim().split('\n').at(-1) ?? '')
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'x', type: 'module' }))
    const install = ['install', '--silent', '--no-audit', '--no-fund']
    const all = [...install, tarball, '@bufbuild/protobuf', '@types/node']
    execFileSync('npm', all, { cwd: folder, stdio: 'pipe' })
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(OPTIONS))
    const files = await at.stack.pki.issue({ ...CALLER, caller: 'console' })
    copyFileSync(files.certificateFile, join(folder, 'caller.pem'))
    copyFileSync(files.keyFile, join(folder, 'caller.key'))
    copyFileSync(files.bundleFile, join(folder, 'bundle.pem'))
    copyFileSync(at.key.keyFile, join(folder, 'seal.key'))
  })
  after(() => {
    child?.kill('SIGKILL')
    echo.close()
    at.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** An example as it stands in the document, but for the names of this control plane. */
  const here = (text: string): string =>
    text
      .replaceAll(
        /gw-[12]\.example\.com', port: 7444/g,
        `localhost', port: ${String(at.stack.callerPort)}`,
      )
      .replaceAll('cp.example.com', TRUST_DOMAIN)
      .replaceAll('eu-1', 'c-1')
      .replaceAll('sha256:PIN', at.pin)
      .replaceAll('5432', String(port))

  function compile(): string {
    try {
      return execFileSync(TSC, [], { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
    } catch (error) {
      return (error as { stdout: string }).stdout
    }
  }

  it('has the version of the programs, and of their dependencies those that it loads alone', () => {
    const [ours, theirs] = [manifestOf(PACKAGE), manifestOf(ROOT)]
    expect(ours.version).to.equal(theirs.version)
    const names = { ...ours.dependencies, ...ours.peerDependencies }
    for (const [name, range] of Object.entries(names))
      expect(theirs.dependencies[name], name).to.equal(range)
    const dist = join(PACKAGE, 'dist')
    const code = readdirSync(dist, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.js'))
      .map((path) => readFileSync(join(dist, path), 'utf8'))
      .join('\n')
    const loaded = code.matchAll(/\b(?:from|import) ?\(?"((?:@[a-z]+\/)?[a-z][a-z0-9.-]*)["/]/g)
    const packages = [...loaded].map(([, name]) => name)
    expect([...new Set(packages)]).to.have.members(Object.keys(names))
  })

  it('lets every type be named that appears in what it exports', () => {
    expect(unnamedTypes(join(PACKAGE, 'dist/types/client.d.ts'))).to.deep.equal([])
  })

  it('compiles every example of docs/CLIENT.md against the packed types, and no mistake', () => {
    mkdirSync(join(folder, 'src'))
    EXAMPLES.forEach((text, index) => {
      writeFileSync(join(folder, 'src', `example-${String(index)}.ts`), here(text))
    })
    expect(compile()).to.equal('')
    // What resolves to any would pass everything, a mistake too.
    const mistake = join(folder, 'src/mistake.ts')
    writeFileSync(mistake, here(EXAMPLES[0] ?? '').replace("{ service: '' }", '{ service: 7 }'))
    expect(compile()).to.match(/mistake\.ts.*number.*string/s)
    rmSync(mistake)
  })

  /** The gateway runs in this process, which must not wait. */
  const run = async (index: number): Promise<string> => {
    const args = [`out/example-${String(index)}.js`]
    return (await promisify(execFile)('node', args, { cwd: folder })).stdout
  }

  it('runs them: a call, a stream, errors and a sealed call', async () => {
    expect(EXAMPLES).to.have.length(5)
    expect(await run(0)).to.equal('c-1 SERVING\n')
    expect(await run(1)).to.equal('10000 bytes\n')
    expect(await run(3)).to.equal('UNAVAILABLE CLUSTER_UNKNOWN never began\n')
    expect(await run(4)).to.equal('nobody between reads this\n')
  })

  it('runs them: a byte stream to a service', async () => {
    const running = spawn('node', ['out/example-2.js'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child = running
    const [said, complained] = [[], []] as [string[], string[]]
    running.stdout.on('data', (text: Buffer) => said.push(text.toString()))
    running.stderr.on(
      'data',
      (text: Buffer) => (console.log(text.toString()), complained.push(text.toString())),
    )
    const got = await eventually(async () => {
      const socket = connect(port, '127.0.0.1')
      socket.end('hello')
      try {
        const chunks: Buffer[] = []
        for await (const chunk of socket) chunks.push(chunk as Buffer)
        return chunks.length > 0 && Buffer.concat(chunks).toString()
      } catch {
        // It does not listen yet.
        return undefined
      }
    }, `a connection; ${complained.join()}`)
    expect(got).to.equal('hello')
    await eventually(() => said.length > 0, 'a line')
    expect(said.join()).to.equal('5 bytes there, 5 back\n')
  })
})
