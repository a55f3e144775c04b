import { expect } from 'chai'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readCertsOnly } from '../../src/identity/certs-only.ts'
import { pemText } from '../../src/identity/pem.ts'
import { readCertificate } from '../../src/identity/validation/certificate.ts'
import { PosternError } from '../../src/base/errors.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { openssl, runTool, runToolBeside } from '../support/openssl.ts'

interface Answer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Enrolment with nothing of ours on the client's side: curl and openssl. */
describe('EST, with curl and openssl alone', function () {
  let plane: ControlPlane
  let serial = 0
  before(async () => {
    plane = await ControlPlane.start()
  })
  after(() => {
    plane.stop()
  })

  const path = (name: string): string => join(plane.folder, name)

  async function curl(url: string, ...more: readonly string[]): Promise<Answer> {
    const output = await runToolBeside('curl', [
      '-sS',
      '-i',
      '--cacert',
      plane.bundleFile,
      ...more,
      url,
    ])
    const [head = '', ...body] = output.split('\r\n\r\n')
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0), head, body: body.join('') }
  }
  const operation = (base: string, name: string): string => `${base}/.well-known/est/${name}`

  /** A new key and a request for it, by openssl; what else it asks for is up to the test. */
  function request(...wishes: readonly string[]): { key: string; csr: string } {
    const key = path(`key-${String(++serial)}.pem`)
    openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', key])
    const run = openssl([
      'req',
      '-new',
      '-key',
      key,
      '-subj',
      '/CN=wish',
      ...wishes,
      '-outform',
      'DER',
    ])
    const csr = path(`csr-${String(serial)}.b64`)
    writeFileSync(csr, run.stdout.toString('base64'))
    return { key, csr }
  }
  const post = (csr: string): string[] => [
    '-H',
    'Content-Type: application/pkcs10',
    '--data-binary',
    `@${csr}`,
  ]
  const withToken = (token: string): string[] => ['-u', `anyone:${token}`]

  const enroll = (token: string, csr: string): Promise<Answer> =>
    curl(operation(plane.enrollUrl, 'simpleenroll'), ...withToken(token), ...post(csr))

  async function leafOf(asked: Promise<Answer>) {
    const answer = await asked
    expect(answer.status, answer.head + answer.body).to.equal(200)
    expect(answer.head).to.match(/content-type: application\/pkcs7-mime; smime-type=certs-only/i)
    const certificates = readCertsOnly(Buffer.from(answer.body, 'base64'))
    expect(certificates).to.have.lengthOf(1)
    return readCertificate(certificates[0] ?? Buffer.alloc(0))
  }

  async function enrolled(): Promise<{ key: string; chain: string; serial: string }> {
    const { key, csr } = request()
    const { token } = await plane.token()
    const leaf = await leafOf(enroll(token, csr))
    const chain = path(`chain-${String(serial)}.pem`)
    const issuing = readFileSync(join(plane.folder, 'cp/ca/agents.pem'), 'utf8')
    writeFileSync(chain, pemText('CERTIFICATE', leaf.der) + issuing)
    return { key, chain, serial: leaf.serial.toString('hex') }
  }

  const renew = (from: { key: string; chain: string }, csr: string): Promise<Answer> =>
    curl(
      operation(plane.renewUrl, 'simplereenroll'),
      '--cert',
      from.chain,
      '--key',
      from.key,
      ...post(csr),
    )

  it('hands the root and the issuing CA to anyone, in a form that openssl reads', async () => {
    const { status, body } = await curl(operation(plane.enrollUrl, 'cacerts'))
    expect(status).to.equal(200)
    writeFileSync(path('cacerts.b64'), body)
    const run = runTool('sh', [
      '-c',
      `base64 -d ${path('cacerts.b64')} | openssl pkcs7 -inform DER -print_certs -noout`,
    ])
    expect(run.output).to.include(`${DOMAIN} root`).and.to.include(`${DOMAIN} agents and callers`)
  })

  it('tells the attributes that it would like', async () => {
    const { status, head, body } = await curl(operation(plane.enrollUrl, 'csrattrs'))
    expect([status, /content-type: (.*)/i.exec(head)?.[1]?.trim()]).to.deep.equal([
      200,
      'application/csrattrs',
    ])
    const { output } = openssl(['asn1parse', '-inform', 'DER'], Buffer.from(body, 'base64'))
    expect(output).to.include('prime256v1').and.to.include('ecdsa-with-SHA256')
  })

  it('enrols for a token; the names in the request are wishes and nothing more', async () => {
    const { csr } = request(
      '-addext',
      'basicConstraints=critical,CA:TRUE',
      '-addext',
      `subjectAltName=URI:spiffe://${DOMAIN}/cluster/other/agent/root`,
    )
    const { token } = await plane.token({ agent: 'a-7' })
    const { extensions } = await leafOf(enroll(token, csr))
    expect(extensions.names).to.deep.equal([
      { kind: 'uri', value: `spiffe://${DOMAIN}/cluster/c-1/agent/a-7` },
    ])
    expect(extensions.basicConstraints?.isCa).to.equal(false)
  })

  it('answers the same request with the same token alike, and no other', async () => {
    const { csr } = request()
    const { token } = await plane.token()
    const [first, again] = [await leafOf(enroll(token, csr)), await leafOf(enroll(token, csr))]
    expect(again.der).to.deep.equal(first.der)
    expect((await enroll(token, request().csr)).status).to.equal(401)
  })

  it('tells a wrong, spent, expired and revoked token apart in the log alone', async () => {
    const revoked = await plane.token()
    await plane.records((_, tokens) => tokens.revoke(revoked.id, 'test', Date.now()))
    const expired = await plane.token({ ttlMs: -1 })
    const spent = await plane.token()
    await leafOf(enroll(spent.token, request().csr))
    const answers: unknown[][] = []
    for (const token of [revoked.token, expired.token, spent.token, 'guess']) {
      const { status, head, body } = await enroll(token, request().csr)
      answers.push([status, head.replace(/date: .*/i, ''), body])
    }
    for (const answer of answers) expect(answer).to.deep.equal(answers[0])
    expect(answers[0]?.[0]).to.equal(401)
    const reasons = plane.log.lines
      .filter(({ facts }) => facts.code === 'TOKEN_REFUSED')
      .map(({ facts }) => String(facts.reason))
    for (const word of ['revoked', 'expired', 'used up', 'malformed'])
      expect(
        reasons.some((reason) => reason.includes(word)),
        word,
      ).to.equal(true)
    expect(JSON.stringify(plane.log.lines)).not.to.include(spent.token.slice(21, 64))
  })

  it('takes base64 with any white space, and neither PEM nor anything else', async () => {
    const { csr } = request()
    const base64 = readFileSync(csr, 'utf8')
    const { token } = await plane.token()
    const body = (content: string): string => {
      const file = path('body')
      writeFileSync(file, content)
      return file
    }
    const wrong: readonly (readonly [string, string])[] = [
      [
        `-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`,
        'PEM',
      ],
      [base64.replace(/.$/, '!'), 'base64'],
      ['', 'base64'],
      [Buffer.from('no request at all').toString('base64'), 'decoded'],
    ]
    for (const [content, told] of wrong) {
      const answer = await enroll(token, body(content))
      expect([answer.status, answer.body]).to.satisfy(
        ([status, text]: [number, string]) => status === 400 && text.includes(told),
      )
    }
    await leafOf(enroll(token, body(base64.replace(/.{20}/g, '$& \t\r\n'))))
  })

  it('refuses what is too large, of another type, method or path', async () => {
    const { token } = await plane.token()
    const { csr } = request()
    writeFileSync(path('large'), 'A'.repeat(70_000))
    const url = operation(plane.enrollUrl, 'simpleenroll')
    expect((await enroll(token, path('large'))).status).to.equal(413)
    expect((await curl(url, ...withToken(token), '--data-binary', `@${csr}`)).status).to.equal(400)
    expect((await curl(url, ...post(csr))).status).to.equal(401)
    expect((await curl(url)).status).to.equal(405)
    expect((await curl(operation(plane.enrollUrl, 'serverkeygen'), ...post(csr))).status).to.equal(
      404,
    )
    expect((await curl(`${plane.enrollUrl}/`)).status).to.equal(404)
  })

  it('renews for the certificate in the handshake, with a new key, and keeps the old one good', async () => {
    const old = await enrolled()
    const { csr } = request()
    const [first, again] = [await leafOf(renew(old, csr)), await leafOf(renew(old, csr))]
    expect(again.der).to.deep.equal(first.der)
    expect(first.serial.toString('hex')).not.to.equal(old.serial)
    await leafOf(renew(old, request().csr))
  })

  it('renews nobody without a certificate, for another key of theirs, or once a later one is in use', async () => {
    const old = await enrolled()
    expect(
      (await curl(operation(plane.enrollUrl, 'simplereenroll'), ...post(request().csr))).status,
    ).to.equal(403)
    expect(
      (await curl(operation(plane.renewUrl, 'simplereenroll'), ...post(request().csr))).status,
    ).to.equal(0)
    const der = openssl([
      'req',
      '-new',
      '-key',
      old.key,
      '-subj',
      '/CN=x',
      '-outform',
      'DER',
    ]).stdout
    writeFileSync(path('same'), der.toString('base64'))
    expect((await renew(old, path('same'))).body).to.include(
      'RENEWAL_REFUSED: a renewal needs a new key',
    )
    const next = await leafOf(renew(old, request().csr))
    await plane.records(async ({ database }) => {
      await database
        .updateTable('certificates')
        .set({ state: 'superseded' })
        .where('serial', '=', old.serial)
        .execute()
    })
    expect((await renew(old, request().csr)).body).to.include('later certificate')
    expect(next.serial).to.have.lengthOf(16)
  })

  it('gives no second certificate to a key', async () => {
    const { csr } = request()
    const [one, two] = [await plane.token(), await plane.token()]
    await leafOf(enroll(one.token, csr))
    expect((await enroll(two.token, csr)).body).to.include('has a certificate already')
  })

  it('writes down who got what, for which token, from where; and who was refused', async () => {
    const { id, token } = await plane.token({ agent: 'a-9' })
    const { serial: issued } = await leafOf(enroll(token, request().csr))
    const events = await plane.records(({ database }) =>
      database.selectFrom('events').selectAll().execute(),
    )
    const found = events.find((event) => event.serial === issued.toString('hex'))
    expect(found).to.include({
      kind: 'certificate.issued',
      actor: `token ${id}`,
      identity: `spiffe://${DOMAIN}/cluster/c-1/agent/a-9`,
    })
    expect(found?.address).to.include('127.0.0.1')
    expect(
      events.some(
        ({ kind, detail }) =>
          kind === 'enrolment.refused' && detail?.startsWith('TOKEN_REFUSED') === true,
      ),
    ).to.equal(true)
    expect(JSON.stringify(events)).not.to.include(token.slice(21, 64))
  })

  it('keeps its store and its keys from other users', () => {
    const files = [
      'records.db',
      'records.db-wal',
      'ca/agents.key',
      'ca/gateways.key',
      'gateway.key',
      'root/root.key',
    ]
    for (const name of files.map((file) => join(plane.folder, 'cp', file)))
      if (existsSync(name)) expect(statSync(name).mode & 0o077, name).to.equal(0)
  })

  it('closes on who sends a request too slowly, and on who hangs up logs nothing', async () => {
    const before = plane.log.lines.length
    const url = operation(plane.enrollUrl, 'simpleenroll')
    const started = Date.now()
    const slow = [
      '-sS',
      '-i',
      '--cacert',
      plane.bundleFile,
      '--limit-rate',
      '1000',
      '--max-time',
      '1',
    ]
    await runToolBeside('curl', [...slow, '--data-binary', `@${path('large')}`, url])
    const basic = Buffer.from(`x:${(await plane.token()).token}`).toString('base64')
    const head = [
      'POST /.well-known/est/simpleenroll HTTP/1.1',
      'Host: a',
      'Content-Type: application/pkcs10',
      `Authorization: Basic ${basic}`,
      'Content-Length: 9',
      '\\r\\n',
    ].join('\\r\\n')
    const client = `openssl s_client -quiet -CAfile ${plane.bundleFile} -connect localhost:${new URL(url).port} 2>&1`
    const output = await runToolBeside('sh', ['-c', `(printf '${head}'; sleep 20) | ${client}`])
    expect(output).to.include('408 Request Timeout')
    expect(Date.now() - started).to.be.lessThan(25_000)
    expect(plane.log.lines.slice(before).map(({ message }) => message)).to.not.include(
      'a request failed',
    )
  })

  it('slows down a token that is used too often, from wherever', async () => {
    const { token } = await plane.token({ uses: 1000 })
    const { ca } = plane.gateway
    const nowMs = Date.now()
    const outcomes: string[] = []
    for (let i = 0; i < 80; i++) {
      const asker = { address: `10.0.0.${String(i)}`, nowMs }
      const read = () => {
        throw new PosternError('CSR_INVALID', 'none')
      }
      await ca?.issuer.enroll(token, read, asker).catch((error: unknown) => {
        outcomes.push((error as PosternError).code)
      })
    }
    expect(outcomes.filter((code) => code === 'CSR_INVALID')).to.have.lengthOf(50)
    expect(outcomes.filter((code) => code === 'FLOOD')).to.have.lengthOf(30)
  })

  it('slows down a network that tries too often', async () => {
    const url = operation(plane.enrollUrl, 'simpleenroll')
    const ask = ['-u', 'a:b', '-X', 'POST', ...Array.from({ length: 80 }, () => url)]
    const quiet = ['-s', '-o', '/dev/null', '-w', '%{http_code}\\n', '--cacert', plane.bundleFile]
    expect((await runToolBeside('curl', [...quiet, ...ask])).split('\n')).to.include('429')
  })
})
