import { expect } from 'chai'
import { spawnSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer as createHttps, type Server as HttpsServer } from 'node:https'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readAnchors, sendToAnchor } from '../../src/audit/anchor.ts'
import type { Checkpoint } from '../../src/audit/chain.ts'
import { Authority, USAGE_SERVER } from '../../src/identity/authority.ts'
import { rejection } from '../support/code-of.ts'
import { TestRecord } from './record.ts'

const ANCHOR = fileURLToPath(new URL('../../src/audit/anchor.ts', import.meta.url))

describe('anchors of the record', () => {
  let record: TestRecord
  let checkpoint: Checkpoint
  let server: Server | HttpsServer | undefined
  beforeEach(() => {
    record = new TestRecord()
    record.calls(3)
    record.recorder.stop()
    checkpoint = record.anchors.at(-1)!
  })
  afterEach(() => {
    server?.close()
    server = undefined
    record.remove()
  })

  async function listening(one: Server | HttpsServer): Promise<number> {
    server = one
    one.listen(0, 'localhost')
    await once(one, 'listening')
    return (one.address() as AddressInfo).port
  }

  it('in a file are lines that verify proves the record by', async () => {
    const path = join(record.folder, 'elsewhere')
    await sendToAnchor(path, 'spiffe://x', checkpoint)
    writeFileSync(path, 'a line of another log\n', { flag: 'a' })
    expect(readAnchors(path)).to.deep.equal([checkpoint])
    expect(await record.verify(readAnchors(path))).to.deep.include({ findings: [], anchoredTo: 3 })
    await rejection(sendToAnchor('/nowhere/at/all', 'spiffe://x', checkpoint), 'STATE_UNWRITABLE')
  })

  it('by syslog are messages of RFC 5424, one framed behind the other, that a log keeps as they are', async () => {
    const heard: Buffer[] = []
    const port = await listening(
      createServer((socket) => socket.on('data', (bytes: Buffer) => heard.push(bytes))),
    )
    const anchor = `syslog://localhost:${String(port)}`
    await sendToAnchor(anchor, 'spiffe://x', checkpoint)
    const text = Buffer.concat(heard).toString()
    const [, count = '', message = ''] = /^(\d+) (.*)$/s.exec(text) ?? []
    expect(Number(count)).to.equal(Buffer.byteLength(message))
    expect(message).to.match(
      /^<110>1 \S+ - postern-agent - checkpoint - \{"identity":"spiffe:\/\/x",/,
    )
    const kept = join(record.folder, 'messages')
    writeFileSync(kept, `${message}\n`)
    expect(readAnchors(kept)).to.deep.equal([checkpoint])
    server?.close()
    await rejection(sendToAnchor(anchor, 'spiffe://x', checkpoint), 'DIAL_FAILED')
  })

  it('by HTTPS are posted to a server whose certificate holds, and are not sent to another', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-anchor-'))
    const validity = {
      notBefore: new Date(Date.now() - 1000),
      notAfter: new Date(Date.now() + 1e8),
    }
    const root = await Authority.createRoot('siem root', validity)
    const leaf = await root.issueLeaf({
      ...{ commonName: 'siem', uris: [], dnsNames: ['localhost'], usage: [USAGE_SERVER] },
      ...validity,
    })
    const ca = join(folder, 'ca.pem')
    writeFileSync(ca, root.certificatePem)
    const posted: { type: string | undefined; body: string }[] = []
    let status = 200
    const secure = createHttps(
      { cert: leaf.certificatePem, key: leaf.keyPem },
      (incoming, response) => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('end', () => {
          const body = Buffer.concat(chunks).toString()
          posted.push({ type: incoming.headers['content-type'], body })
          response.writeHead(status).end()
        })
      },
    )
    const anchor = `https://localhost:${String(await listening(secure))}/postern`
    // Roots of its own are what NODE_EXTRA_CA_CERTS is for, which is read when a process starts.
    const send = async (environment: Record<string, string>): Promise<string> => {
      const script = `const { sendToAnchor } = await import(${JSON.stringify(ANCHOR)}); await sendToAnchor(${JSON.stringify(anchor)}, 'spiffe://x', ${JSON.stringify(checkpoint)}).then(() => console.log('sent'), (error) => console.log(error.code))`
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        env: { ...process.env, ...environment },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let said = ''
      for await (const chunk of child.stdout) said += String(chunk)
      return said.trim()
    }
    expect(await send({ NODE_EXTRA_CA_CERTS: ca })).to.equal('sent')
    expect(posted.map(({ type }) => type)).to.deep.equal(['application/json'])
    expect(JSON.parse(posted[0]?.body ?? '')).to.deep.equal({ identity: 'spiffe://x', checkpoint })
    status = 503
    expect(await send({ NODE_EXTRA_CA_CERTS: ca })).to.equal('PEER_REFUSED')
    expect(await send({})).to.equal('CERT_UNTRUSTED')
    expect(posted.length).to.equal(2)
    expect(spawnSync('rm', ['-r', folder]).status).to.equal(0)
  })
})
