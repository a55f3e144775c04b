import { expect } from 'chai'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { timeMs, TAG } from '../../src/identity/der.ts'
import { makeSigningRequest } from '../../src/identity/csr.ts'
import { makeKey } from '../../src/identity/keys.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { runToolBeside } from '../support/openssl.ts'
import { runCli } from '../support/run-cli.ts'

describe('EST clients of the field', function () {
  let plane: ControlPlane
  before(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
  })
  after(() => {
    plane.stop()
  })
  const state = (name: string): string => join(plane.stateOf('a-1'), 'current', name)

  it('find headers in their usual case', async () => {
    const url = `${plane.enrollUrl}/.well-known/est/cacerts`
    const head = await runToolBeside('curl', [
      '-sS',
      '-D',
      '-',
      '-o',
      '/dev/null',
      '--cacert',
      plane.bundleFile,
      url,
    ])
    for (const name of [
      'Content-Type',
      'Content-Transfer-Encoding',
      'Content-Length',
      'Cache-Control',
    ])
      expect(head).to.match(new RegExp(`^${name}: `, 'm'))
  })

  it('are let in where they present their leaf alone', async () => {
    const [leaf = ''] = readFileSync(state('chain.pem'), 'utf8').split('-----END')
    const file = join(plane.folder, 'leaf.pem')
    writeFileSync(file, `${leaf}-----END CERTIFICATE-----\n`)
    const body = join(plane.folder, 'csr')
    writeFileSync(body, makeSigningRequest(await makeKey('p256')).toString('base64'))
    const answer = await runToolBeside('curl', [
      ...['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--cacert', plane.bundleFile],
      ...['--cert', file, '--key', state('key.pem'), '-H', 'Content-Type: application/pkcs10'],
      ...['--data-binary', `@${body}`, `${plane.renewUrl}/.well-known/est/simplereenroll`],
    ])
    expect(answer).to.equal('200')
  })

  it('may ask by HEAD where GET is, and by absolute form', async () => {
    const { port } = new URL(plane.enrollUrl)
    const ask = async (line: string): Promise<string> => {
      const client = `openssl s_client -quiet -CAfile ${plane.bundleFile} -connect localhost:${port} 2>/dev/null`
      const request = `${line} HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n`
      return await runToolBeside('sh', ['-c', `(printf '${request}'; sleep 1) | ${client}`])
    }
    const [head = '', body] = (await ask('HEAD /.well-known/est/cacerts')).split('\r\n\r\n')
    expect(head)
      .to.match(/^HTTP\/1\.1 200 /)
      .and.match(/Content-Length: [1-9]/)
    expect(body).to.equal('')
    expect(await ask('GET https://a/.well-known/est/cacerts')).to.match(/^HTTP\/1\.1 200 /)
    expect(await ask('GET http://a/.well-known/est/cacerts')).to.match(/^HTTP\/1\.1 400 /)
  })

  it('are answered the question that certs verify --role asks: chain and rules for leaves', async () => {
    const args = ['certs', 'verify', '--leaf', state('chain.pem'), '--roots', plane.bundleFile]
    expect((await runCli('agent', [...args, '--role', 'client'])).status).to.equal(0)
    const asServer = await runCli('agent', [...args, '--role', 'server'])
    expect([asServer.status, asServer.stdout]).to.satisfy(
      ([status, text]: [number, string]) => status === 1 && text.includes('role is agent'),
    )
  })

  it('send no time that does not exist', () => {
    for (const text of ['260001000000Z', '261301000000Z', '260230000000Z', '260132000000Z'])
      expect(
        () => timeMs({ tag: TAG.utcTime, content: Buffer.from(text) } as never),
        text,
      ).to.throw('does not exist')
    const year0 = { tag: TAG.generalizedTime, content: Buffer.from('00500101000000Z') }
    expect(() => timeMs(year0 as never)).to.throw('does not exist')
  })
})
