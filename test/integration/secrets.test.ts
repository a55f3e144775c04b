import { expect } from 'chai'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Decrypter, generateIdentity, identityToRecipient } from 'age-encryption'
import { ScalarType, type DescMessage } from '@bufbuild/protobuf'
import { Secrets, type Client } from '../../src/client.ts'
import { jsonBytes, base64Bytes } from '../../src/dataplane/secrets/secret-body.ts'
import { Moto, MOTO_CREDENTIALS } from '../support/moto.ts'
import { eventually } from '../support/eventually.ts'
import { GATEWAY } from '../support/pki.ts'
import { sealingKey } from '../support/sealing.ts'
import { IdentityEndpoint } from '../support/objects/azurite.ts'
import { GcpStandIn, KeyVaultStandIn } from '../support/secrets/cloud-stand-ins.ts'
import { KubernetesStandIn, VaultStandIn } from '../support/secrets/stand-ins.ts'
import { reasonOfError } from '../support/reason-of-error.ts'
import { Stack } from '../support/stack.ts'
import { faultsOf } from '../kubernetes/validate.ts'

const scope = { organisation: 'acme', domain: 'prod', project: 'billing' }
const long = { organisation: 'a'.repeat(63), domain: 'b'.repeat(63), project: 'c'.repeat(63) }
const MARKER = 'a-value-of-nobody-else'

describe('secrets', function () {
  let stack: Stack
  let secrets: Client<typeof Secrets>
  const undo: (() => void)[] = []

  beforeEach(async () => {
    stack = await Stack.start()
  })
  afterEach(() => {
    stack.stop()
    for (const act of undo.splice(0)) act()
  })

  const start = async (row: object): Promise<void> => {
    const key = sealingKey(stack.pki.folder, 'console')
    const agent = await stack.startAgent({
      secrets: JSON.stringify([{ name: 'main', ...row }]),
      'seal.callers': JSON.stringify([{ caller: 'console', pin: key.pin }]),
    })
    const pins = [agent.report().seal.pin]
    secrets = (await stack.connect()).sealed('c-1', { ...key, pins }).service(Secrets)
  }
  const put = (name: string, value: string | Buffer, more: object = {}) =>
    secrets.put({ backend: 'main', scope, name, value: Buffer.from(value), ...more })
  const names = async (within: object = { organisation: 'acme' }): Promise<string[]> => {
    const { secrets: all } = await secrets.list({ backend: 'main', scope: within })
    return all
      .map(({ scope: of, name }) => [of?.organisation, of?.domain, of?.project, name].join('/'))
      .sort()
  }
  const reasonOf = async (promise: Promise<unknown>): Promise<string> =>
    await promise.then(() => 'it passed', reasonOfError)
  const secretFile = (name: string, text: string): string => {
    const path = join(stack.pki.folder, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }

  /** What every backend does alike. */
  const lifecycle = async (): Promise<void> => {
    await put('first', MARKER)
    await put('second', 'x', { scope: { organisation: 'acme' } })
    await put('third', 'x', { scope: { organisation: 'acme-2' } })
    await put('first', `${MARKER}-again`)
    expect(await names()).to.deep.equal(['acme///second', 'acme/prod/billing/first'])
    expect(await names({ organisation: 'acme', domain: 'prod' })).to.deep.equal([
      'acme/prod/billing/first',
    ])
    const { secrets: all } = await secrets.list({ backend: 'main', scope })
    expect(Number(all[0]?.created?.seconds)).to.be.above(1_700_000_000)
    const gone = { backend: 'main', scope, name: 'first' }
    expect(await secrets.delete(gone)).to.deep.include({ deleted: true })
    expect(await secrets.delete(gone)).to.deep.include({ deleted: false })
    expect(await names()).to.deep.equal(['acme///second'])
    for (const name of ['', '../x', 'a/b', 'a b', 'x'.repeat(300), 'ä', '-', '.'])
      expect(await reasonOf(put(name, 'x')), name).to.include('SECRET_NAME_REFUSED')
    for (const bad of [
      {},
      { organisation: 'A' },
      { organisation: 'a', project: 'p' },
      { organisation: 'a--b' },
      { organisation: '..' },
    ])
      expect(await reasonOf(put('x', 'x', { scope: bad })), JSON.stringify(bad)).to.include(
        'SECRET_NAME_REFUSED',
      )
    expect(await reasonOf(put('x', Buffer.alloc(64 * 1024 + 1)))).to.include('SECRET_TOO_LARGE')
    expect(await reasonOf(put('x', 'x', { backend: 'other' }))).to.include('SOURCE_UNKNOWN')
    expect(JSON.stringify(stack.log.lines)).to.not.include(MARKER)
  }

  it('go into files that the agent cannot read back', async () => {
    const identity = await generateIdentity()
    const directory = join(stack.pki.folder, 'secrets')
    mkdirSync(directory)
    await start({ type: 'files', directory, recipient: await identityToRecipient(identity) })
    await put('api_key', MARKER)
    const [file = ''] = readdirSync(join(directory, 'acme/prod/billing'))
    const bytes = readFileSync(join(directory, 'acme/prod/billing', file))
    expect(bytes.includes(MARKER)).to.equal(false)
    const decrypter = new Decrypter()
    decrypter.addIdentity(identity)
    expect(await decrypter.decrypt(bytes, 'text')).to.equal(MARKER)
    await secrets.delete({ backend: 'main', scope, name: 'api_key' })
    await lifecycle()
  })

  it('go into Kubernetes without any right to read them', async () => {
    const server = new KubernetesStandIn(await stack.pki.issue(GATEWAY))
    undo.push(() => {
      server.stop()
    })
    const url = await server.start()
    await start({
      type: 'kubernetes',
      namespace: 'team',
      url,
      caFile: stack.pki.bundleFile,
      tokenFile: secretFile('token', 'of-the-pod'),
    })
    const value = randomBytes(1000)
    await put('first', value)
    const held = server.held.get('/api/v1/namespaces/team/secrets/acme.prod.billing.first')
    expect(Buffer.from(held?.data?.value ?? '', 'base64').equals(value)).to.equal(true)
    await secrets.delete({ backend: 'main', scope, name: 'first' })
    await lifecycle()
    expect(await reasonOf(put('n'.repeat(63), 'x', { scope: long }))).to.include(
      'together are longer',
    )
    expect(faultsOf(server.sent)).to.deep.equal([])
    expect(server.sent.length).to.be.above(4)
  })

  it('go into Vault, text as text and other bytes as base64', async () => {
    const server = new VaultStandIn(await stack.pki.issue(GATEWAY))
    undo.push(() => {
      server.stop()
    })
    await start({
      type: 'vault',
      url: await server.start(),
      mount: 'kv',
      caFile: stack.pki.bundleFile,
      tokenFile: secretFile('token', 's.of-tests\n'),
    })
    const odd = 'quotes " and \\ and \u0001 and ü and \n'
    expect(await put('text', odd)).to.deep.include({ version: '1' })
    expect(server.held.get('postern/acme/prod/billing/text')?.data).to.deep.equal({ value: odd })
    await put('bytes', Buffer.from([0xff, 0xfe, 0]))
    expect(server.held.get('postern/acme/prod/billing/bytes')?.data).to.deep.equal({
      value_base64: '//4A',
    })
    for (const name of ['text', 'bytes']) await secrets.delete({ backend: 'main', scope, name })
    await lifecycle()
    server.token = 'another'
    const refused = await reasonOf(put('x', MARKER))
    expect(refused).to.match(/^CREDENTIALS_MISSING: secrets main: .*; id [0-9a-f]{8}$/)
    server.token = 's.of-tests'
    // What was sent and not answered may have been done.
    server.instead = 'hang'
    server.requests.length = 0
    const cut = reasonOf(put('x', MARKER))
    await eventually(() => server.requests.some((one) => one.endsWith('/x')), 'it was asked')
    server.stop()
    expect(await cut).to.match(/^WRITE_UNKNOWN: .*List tells.*; id [0-9a-f]{8}$/)
    expect(await reasonOf(put('x', MARKER))).to.include('BACKEND_UNREACHABLE')
    expect(JSON.stringify(stack.log.lines)).to.not.include(MARKER).and.not.include('SECRET-WORDS')
  })

  it('go into Google Secret Manager', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const server = new GcpStandIn(await stack.pki.issue(GATEWAY), publicKey)
    undo.push(() => {
      server.stop()
    })
    const account = {
      ...{
        type: 'service_account',
        client_email: 'a@b.iam.gserviceaccount.com',
        private_key_id: 'k',
      },
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    }
    const credentialsFile = secretFile('gcp.json', JSON.stringify(account))
    const place = { endpoint: await server.start(), caFile: stack.pki.bundleFile, credentialsFile }
    await start({ type: 'gcp', project: 'acme-project', ...place })
    const value = randomBytes(500)
    expect(await put('first', value)).to.deep.include({ version: '1' })
    expect(await put('first', value)).to.deep.include({ version: '2' })
    const [kept = ''] = server.held.get('postern-acme--prod--billing--first') ?? []
    expect(Buffer.from(kept, 'base64').equals(value)).to.equal(true)
    await secrets.delete({ backend: 'main', scope, name: 'first' })
    await lifecycle()
  })

  it('go into Azure Key Vault, whose token goes nowhere else', async () => {
    const server = new KeyVaultStandIn(await stack.pki.issue(GATEWAY))
    await IdentityEndpoint.shared()
    undo.push(() => {
      server.stop()
    })
    await start({ type: 'azure', url: await server.start(), caFile: stack.pki.bundleFile })
    await put('text', 'a "text" of ü')
    await put('bytes', Buffer.from([0xff, 0xfe, 0]))
    const kept = (name: string) => server.held.get(`postern-acme--prod--billing--${name}`)
    expect(kept('text')).to.deep.equal({ value: 'a "text" of ü', contentType: 'text/plain' })
    expect(kept('bytes')).to.include({ value: '//4A' })
    expect(await reasonOf(put('name', 'x', { scope: long }))).to.include('together are longer')
    server.elsewhere = 'https://evil.example.com'
    expect(await reasonOf(names())).to.include('BACKEND_REFUSED')
    server.elsewhere = ''
    for (const name of ['text', 'bytes']) await secrets.delete({ backend: 'main', scope, name })
    await lifecycle()
  })

  it('go into AWS Secrets Manager', async () => {
    const moto = await Moto.start()
    undo.push(() => {
      moto.stop()
    })
    const credentialsFile = secretFile('aws', MOTO_CREDENTIALS)
    const value = (id: string) =>
      moto.ask('secretsmanager', 'secretsmanager.GetSecretValue', { SecretId: id })
    await start({ type: 'aws', region: 'eu-west-1', endpoint: moto.url, credentialsFile })
    await put('text', 'a "text" of ü')
    await put('bytes', Buffer.from([0xff, 0xfe, 0]))
    expect(await value('postern/acme/prod/billing/text')).to.include({
      SecretString: 'a "text" of ü',
    })
    expect(await value('postern/acme/prod/billing/bytes')).to.include({ SecretBinary: '//4A' })
    for (const name of ['text', 'bytes']) await secrets.delete({ backend: 'main', scope, name })
    await lifecycle()
  })

  it('cross sealed alone, unless the customer says otherwise', async () => {
    await start({
      type: 'files',
      directory: stack.pki.folder,
      recipient: await identityToRecipient(await generateIdentity()),
    })
    const plain = stack.clients[0]!.cluster('c-1').service(Secrets)
    expect(await reasonOf(plain.list({ backend: 'main', scope }))).to.include('must be sealed')
  })

  it('have no response with a field that could hold a value', () => {
    const fields = (message: DescMessage): string[] =>
      message.fields.flatMap((field) => [
        ...(field.fieldKind === 'scalar' && field.scalar === ScalarType.BYTES ? [field.name] : []),
        ...(/value|secret_data|payload|padding/.test(field.name) ? [field.name] : []),
        ...(field.message === undefined ? [] : fields(field.message)),
      ])
    const responses = Secrets.methods.map(({ output }) => output)
    expect(responses.flatMap(fields)).to.deep.equal([])
    expect(fields(Secrets.method.put.input)).to.include('value')
  })

  it('are written into bodies byte by byte as JSON and base64 would have them', () => {
    for (let length = 0; length < 80; length++) {
      const bytes = randomBytes(length)
      expect(base64Bytes(bytes).toString()).to.equal(bytes.toString('base64'))
      const text = bytes.toString('latin1')
      expect(JSON.parse(`"${jsonBytes(Buffer.from(text)).toString()}"`)).to.equal(text)
    }
  })
})
