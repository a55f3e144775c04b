import { expect } from 'chai'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { AGENT } from '../support/pki.ts'
import { Stack } from '../support/stack.ts'

const run = promisify(execFile)

const AEAD_WITH_PFS = /^(TLS_(AES|CHACHA20)|ECDHE-(ECDSA|RSA)-(AES(128|256)-GCM|CHACHA20-POLY1305))/

describe('a scan of the listeners', function () {
  let stack: Stack
  let client: string[]
  before(async () => {
    stack = await Stack.start()
    const { certificateFile, keyFile } = await stack.pki.issue(AGENT)
    client = ['-cert', certificateFile, '-key', keyFile]
  })
  after(() => {
    stack.stop()
  })

  for (const listener of ['agentPort', 'callerPort'] as const) {
    it(`by sslscan finds nothing under TLS 1.2 and nothing weak on ${listener}`, async () => {
      const target = `127.0.0.1:${String(stack[listener])}`
      const { stdout } = await run('sslscan', ['--xml=-', '--sni-name=localhost', target])
      const enabled = [...stdout.matchAll(/<protocol type="(\w+)" version="([\d.]+)" enabled="1"/g)]
      expect(enabled.map(([, type, version]) => `${type!} ${version!}`)).to.have.members([
        'tls 1.2',
        'tls 1.3',
      ])
      const ciphers = [...stdout.matchAll(/<cipher status="\w+" [^>]*\bcipher="(\S+)"/g)]
      expect(ciphers.length).to.be.greaterThan(0)
      expect(ciphers.filter(([, cipher]) => !AEAD_WITH_PFS.test(cipher!))).to.deep.equal([])
      expect(stdout).to.match(/<renegotiation supported="0"/)
      expect(stdout).not.to.match(/<heartbleed[^>]*vulnerable="1"|<compression supported="1"/)
    })
  }

  it('with every suite that OpenSSL has finds only AEAD with forward secrecy under TLS 1.2', async () => {
    const all = await run('openssl', [
      'ciphers',
      '-s',
      '-tls1_2',
      'ALL:COMPLEMENTOFALL:@SECLEVEL=0',
    ])
    const accepted: string[] = []
    for (const suite of all.stdout.trim().split(':')) {
      const target = ['-connect', `127.0.0.1:${String(stack.agentPort)}`, '-tls1_2', ...client]
      const asked = run('openssl', ['s_client', ...target, '-cipher', `${suite}:@SECLEVEL=0`])
      asked.child.stdin?.end()
      const said = await asked.then(
        ({ stdout }) => stdout,
        (error: unknown) => (error as { stdout: string }).stdout,
      )
      if (said.includes(`Cipher is ${suite}\n`)) accepted.push(suite)
    }
    // The test's certificate is ECDSA, so suites that sign with RSA have nothing to sign with.
    expect(accepted).to.have.members([
      'ECDHE-ECDSA-AES256-GCM-SHA384',
      'ECDHE-ECDSA-AES128-GCM-SHA256',
      'ECDHE-ECDSA-CHACHA20-POLY1305',
    ])
  })
})
