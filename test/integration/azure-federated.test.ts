import { expect } from 'chai'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer as createTls, type Server as TlsServer } from 'node:https'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { Secrets } from '../../src/client.ts'
import { dialGateway } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { Daemons } from '../support/daemons.ts'
import { CALLER, GATEWAY, TRUST_DOMAIN } from '../support/pki.ts'
import { KeyVaultStandIn } from '../support/secrets/cloud-stand-ins.ts'

const TENANT = '00000000-0000-0000-0000-000000000001'
const CLIENT = '00000000-0000-0000-0000-000000000002'
const scope = { organisation: 'acme', domain: 'prod', project: 'billing' }

/** As a workload of Kubernetes' has it: a token of the cluster's, which Entra takes for one of its own. */
describe('a federated identity of Azure', () => {
  let daemons: Daemons
  let entra: TlsServer
  let proxy: Server
  let vault: KeyVaultStandIn
  let client: GatewayClient
  const asked: URLSearchParams[] = []
  const changed = new Map<string, string | undefined>()
  const set = (name: string, value: string): void => {
    changed.set(name, process.env[name])
    process.env[name] = value
  }
  const port = (server: Server | TlsServer): number => (server.address() as AddressInfo).port

  before(async () => {
    daemons = await Daemons.create()
    const names = { dnsNames: ['login.microsoftonline.com'] }
    const { certificateFile, keyFile } = await daemons.pki.issue(GATEWAY, names)
    const files = { cert: readFileSync(certificateFile), key: readFileSync(keyFile) }
    entra = createTls(files, (request, response) => {
      let text = ''
      request.on('data', (part: Buffer) => (text += part.toString()))
      request.on('end', () => {
        const form = new URLSearchParams(text)
        asked.push(form)
        const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
        const token = `${part({ alg: 'RS256' })}.${part({ aud: 'https://vault.azure.net' })}.x`
        const isOurs =
          request.url?.split('?')[0] === `/${TENANT}/oauth2/v2.0/token` &&
          form.get('client_assertion') === 'a-token-of-the-cluster'
        response.writeHead(isOurs ? 200 : 400, { 'content-type': 'application/json' })
        const good = { token_type: 'Bearer', expires_in: 3600, access_token: token }
        response.end(JSON.stringify(isOurs ? good : { error: 'invalid_client' }))
      })
    })
    entra.listen(0, '127.0.0.1')
    // Entra's own name leads here, as it does through a customer's proxy.
    proxy = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', (head: Buffer) => {
        if (!head.toString().startsWith('CONNECT login.microsoftonline.com:443 ')) {
          socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
          return
        }
        const inner = connect(port(entra), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 OK\r\n\r\n')
          socket.pipe(inner).pipe(socket)
        })
        inner.on('error', () => socket.destroy())
      })
    })
    proxy.listen(0, '127.0.0.1')
    await Promise.all([once(entra, 'listening'), once(proxy, 'listening')])
    vault = new KeyVaultStandIn(await daemons.pki.issue(GATEWAY))
  })
  after(() => {
    client.close()
    daemons.stop()
    entra.closeAllConnections()
    entra.close()
    proxy.close()
    vault.stop()
    for (const [name, value] of changed)
      if (value === undefined) Reflect.deleteProperty(process.env, name)
      else process.env[name] = value
  })

  it('writes a secret into Key Vault by a token that was exchanged for that of the workload', async () => {
    const { folder, bundleFile } = daemons.pki
    const tokenFile = join(folder, 'federated-token')
    writeFileSync(tokenFile, 'a-token-of-the-cluster')
    set('AZURE_TENANT_ID', TENANT)
    set('AZURE_CLIENT_ID', CLIENT)
    set('AZURE_FEDERATED_TOKEN_FILE', tokenFile)
    set('AZURE_AUTHORITY_HOST', 'https://login.microsoftonline.com/')
    set('HTTPS_PROXY', `http://127.0.0.1:${String(port(proxy))}`)
    set('NO_PROXY', 'localhost,127.0.0.1')
    set('NODE_EXTRA_CA_CERTS', bundleFile)
    const policy = join(folder, 'policy.yaml')
    const rule = '{ name: secrets, callers: ["*"], methods: ["postern.dataplane.v1.Secrets/*"] }'
    writeFileSync(policy, `version: 1\nsealed: { secret: optional }\nrules: [${rule}]\n`)
    await daemons.startGateway()
    const row = { name: 'vault', type: 'azure', url: await vault.start(), caFile: bundleFile }
    const agent = await daemons.startAgent({ allow: [], policy: { file: policy }, secrets: [row] })
    client = await dialGateway({
      ...{ address: { host: '127.0.0.1', port: daemons.callerPort }, serverName: 'localhost' },
      ...{ trustDomain: TRUST_DOMAIN, credentials: await daemons.pki.issue(CALLER) },
    })
    const secrets = client.cluster('c-1').service(Secrets)
    const put = { backend: 'vault', scope, name: 'text', value: Buffer.from('of-the-workload') }
    await secrets.put(put).catch((error: unknown) => {
      throw new Error(agent.text, { cause: error })
    })
    expect(vault.held.get('postern-acme--prod--billing--text')?.value).to.equal('of-the-workload')
    expect(asked[0]?.get('client_id')).to.equal(CLIENT)
    expect(asked[0]?.get('scope')).to.include('https://vault.azure.net/.default')
    expect(agent.text).not.to.include('a-token-of-the-cluster')
  })
})
