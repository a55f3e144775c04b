import { expect } from 'chai'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer as createHttps } from 'node:https'
import { connect, createServer as createTcp, type AddressInfo, type Server } from 'node:net'
import { once } from 'node:events'
import { createServer as createTls } from 'node:tls'
import { request } from 'node:http'
import { TcpListener } from '../../src/transport/tcp-listen.ts'
import { codeOfForward } from '../support/code-of-forward.ts'
import { GATEWAY, TestPki } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

/** A server's port on this machine, by the name in its certificate. */
async function listening(server: Server): Promise<number> {
  server.listen(0, 'localhost')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

describe('a forward to a target that speaks TLS', () => {
  let stack: Stack
  let pki: TestPki
  let roots: string
  const servers: { close(): void }[] = []
  before(async () => {
    stack = await Stack.start()
    pki = await TestPki.create()
    const files = await pki.issue(GATEWAY)
    roots = pki.bundleFile
    const tls = {
      cert: readFileSync(files.certificateFile),
      key: readFileSync(files.keyFile),
      allowHalfOpen: true,
    }
    const echo = createTls(tls, (socket) => {
      const chunks: Buffer[] = []
      socket.on('error', () => undefined)
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.on('end', () => socket.end(Buffer.concat(chunks)))
    })
    const web = createHttps(tls, (asked, response) => {
      response.end(`${asked.method ?? ''} ${asked.url ?? ''}`)
    })
    // Takes the connection, and breaks it at once.
    const rude = createTcp((socket) => {
      socket.resetAndDestroy()
    })
    servers.push(echo, web, rude)
    const [echoPort, webPort, rudePort] = [
      await listening(echo),
      await listening(web),
      await listening(rude),
    ]
    const row = (name: string, target: string, rest: object = {}) => ({
      ...{ name, target, dataType: 'service-traffic' },
      ...rest,
    })
    const emptyRoots = `${roots}.empty`
    writeFileSync(emptyRoots, '')
    const services = [
      row('echo', `tls://localhost:${String(echoPort)}`, { caFile: roots }),
      row('foreign', `tls://localhost:${String(echoPort)}`, { caFile: stack.pki.bundleFile }),
      row('other-name', `tls://127.0.0.1:${String(echoPort)}`, { caFile: roots }),
      row('empty-roots', `tls://localhost:${String(echoPort)}`, { caFile: emptyRoots }),
      row('no-roots', `tls://localhost:${String(echoPort)}`, { caFile: `${roots}.none` }),
      row('web', `https://localhost:${String(webPort)}`, { caFile: roots, dataType: 'metric' }),
      row('rude', `http://localhost:${String(rudePort)}`, { dataType: 'metric' }),
    ]
    await stack.startAgent({ services: JSON.stringify(services) })
  })
  after(() => {
    stack.stop()
    for (const server of servers) server.close()
  })

  async function forwarded(service: string): Promise<{ port: number; code: Promise<unknown> }> {
    const client = await stack.connect()
    const { promise, resolve } = Promise.withResolvers<unknown>()
    const listener = new TcpListener((socket) => {
      void codeOfForward(client.cluster('c-1').forward(service, socket)).then(resolve)
    })
    servers.push(listener)
    const { port } = await listener.listen({ host: '127.0.0.1', port: 0 })
    return { port, code: promise }
  }

  it('reaches it, and ends each direction by itself', async () => {
    const { port } = await forwarded('echo')
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    socket.end('secret rows')
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).to.equal('secret rows')
  })

  it('judges each request, and sends it over TLS', async () => {
    const { port } = await forwarded('web')
    const asked = request({ port, host: '127.0.0.1', path: '/a?b' }).end()
    const [response] = (await once(asked, 'response')) as [AsyncIterable<Buffer>]
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk)
    expect(Buffer.concat(chunks).toString()).to.equal('GET /a?b')
  })

  for (const [service, why] of [
    ['foreign', 'does not chain to a trusted CA'],
    ['other-name', 'does not name the host'],
    ['empty-roots', 'file of roots holds no root'],
    ['no-roots', 'roots of the target cannot be read (ENOENT)'],
  ] as const) {
    it(`is refused where ${service === 'no-roots' ? 'its roots are not there' : `it is ${service}`}`, async () => {
      const { port, code } = await forwarded(service)
      connect({ port, host: '127.0.0.1' }).on('error', () => undefined)
      expect(await code).to.equal('TARGET_UNREACHABLE')
      expect(JSON.stringify(stack.log.lines)).to.include(why)
    })
  }

  it('reads the roots anew for each connection', async () => {
    renameSync(roots, `${roots}.none`)
    try {
      const { port, code } = await forwarded('no-roots')
      const socket = connect({ port, host: '127.0.0.1' })
      socket.end()
      socket.resume()
      expect(await code).to.equal(undefined)
    } finally {
      renameSync(`${roots}.none`, roots)
    }
  })

  it('outlives a target that breaks the connection before its first request is read', async () => {
    const { port } = await forwarded('rude')
    const asked = request({ port, host: '127.0.0.1', path: '/' }).end()
    await new Promise((resolve) => asked.on('response', resolve).on('error', resolve))
    expect(stack.agents[0]?.tunnel.state.name).to.equal('ready')
  })
})
