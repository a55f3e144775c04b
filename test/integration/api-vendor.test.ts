import { expect } from 'chai'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { KeyFilePaths } from '../../src/identity/key-files.ts'
import { CALLER } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'
import { AcmeServer, writeDescriptors } from '../support/vendor/acme-server.ts'

const run = promisify(execFile)
const PYTHON = fileURLToPath(
  new URL('../../node_modules/.postern-venv/bin/python', import.meta.url),
)
const SCRIPT = fileURLToPath(new URL('../support/vendor/caller.py', import.meta.url))

const POLICY = `version: 1
metadata: [served-by, cost, tenant]
rules:
  - {name: all, callers: ["*"], methods: ["*"]}
`

describe("a vendor's service, called through the API", function () {
  let stack: Stack
  let server: AcmeServer
  let files: KeyFilePaths
  let address: string
  before(async () => {
    stack = await Stack.start({ 'api.listen': '127.0.0.1:0' })
    server = new AcmeServer()
    const port = await server.listen()
    const folder = stack.pki.folder
    const descriptors = join(folder, 'acme.pb')
    writeDescriptors(descriptors)
    writeFileSync(join(folder, 'policy.yaml'), POLICY)
    const row = { name: 'acme', target: `grpc://127.0.0.1:${String(port)}`, descriptors }
    const services = JSON.stringify([row])
    await stack.startAgent({ 'policy.file': join(folder, 'policy.yaml'), allow: '[]', services })
    files = await stack.pki.issue(CALLER)
    address = `localhost:${String(stack.addresses.api?.port)}`
  })
  after(() => {
    server.stop()
    stack.stop()
  })

  const curl = async (path: string, body: string): Promise<unknown> => {
    const { certificateFile, keyFile, bundleFile } = files
    const tls = ['--cacert', bundleFile, '--cert', certificateFile, '--key', keyFile]
    const fields = ['-H', 'content-type: application/json', '-H', 'postern-cluster: c-1']
    const { stdout } = await run('curl', [
      '-s',
      ...tls,
      ...fields,
      '-d',
      body,
      `https://${address}${path}`,
    ])
    return JSON.parse(stdout)
  }

  it('takes JSON by what the cluster says of its methods', async () => {
    const answer = await curl('/acme.v1.Jobs/Get', '{"name":"j-1","size":"9007199254740993"}')
    expect(answer).to.deep.equal({ name: 'j-1', size: '9007199254740993' })
    expect(await curl('/acme.v1.Jobs/Get', '{"nme":"j-1"}')).to.deep.equal({
      code: 'invalid_argument',
      message: "it is no acme.v1.Job in protobuf's JSON",
    })
    expect(await curl('/acme.v1.Jobs/Get', '{"name":"fail"}')).to.deep.equal({
      code: 'not_found',
      message: 'the service behind this agent answered NOT_FOUND',
    })
  })

  it('is found by reflection and called by gRPC for Python, each kind of method', async () => {
    const { certificateFile, keyFile, bundleFile } = files
    const words = [SCRIPT, address, bundleFile, certificateFile, keyFile, 'c-1']
    const { stdout } = await run(PYTHON, words)
    const said = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const [listed, ...rest] = said
    expect(listed?.services).to.include.members(['acme.v1.Jobs', 'grpc.health.v1.Health'])
    expect(rest).to.deep.equal([
      { methods: ['Chat', 'Describe', 'Get', 'Put', 'Watch'] },
      { get: 'one', head: 'acme', tail: '7' },
      { watch: ['many', 'many', 'many'] },
      { put: 7 },
      { chat: ['x', 'y'] },
      { failed: 'fail', code: 'NOT_FOUND' },
      { failed: 'never', code: 'DEADLINE_EXCEEDED' },
    ])
  })
})
