import { expect } from 'chai'
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { identityUri, isLabel, parseIdentity } from '../../src/identity/name.ts'
import { readCredential, type KeyFilePaths } from '../../src/identity/key-files.ts'
import { codeOf } from '../support/code-of.ts'
import { AGENT, CALLER, GATEWAY, TestPki } from '../support/pki.ts'

describe('identities', () => {
  it('are written and read in one exact form', () => {
    for (const identity of [AGENT, GATEWAY, CALLER])
      expect(parseIdentity(identityUri(identity))).to.deep.equal(identity)
  })

  it('are read in no other form', () => {
    const good = identityUri(AGENT)
    for (const uri of [
      '',
      `${good}/`,
      `${good}\n`,
      good.toUpperCase(),
      good.replace('spiffe:', 'https:'),
      good.replace('a-1', 'a%2d1'),
      good.replace('a-1', '..'),
      good.replace('a-1', '-a'),
      good.replace('a-1', 'a'.repeat(64)),
      good.replace('//', '//user@'),
      good.replace('.test/', '.test:443/'),
      `${good}?x`,
      `${good}#x`,
      good.replace('/agent/', '/robot/'),
      good.replace('/cluster/c-1', ''),
    ])
      codeOf(() => parseIdentity(uri), 'CERT_LEAF_RULES')
    expect(['a', 'a-1', 'a'.repeat(63)].every(isLabel)).to.equal(true)
  })
})

describe('our own files', () => {
  let pki: TestPki
  let files: KeyFilePaths
  before(async () => {
    pki = await TestPki.create()
  })
  beforeEach(async () => {
    files = await pki.issue(AGENT)
  })
  const read = (): unknown => readCredential(files, 'agent', Date.now())

  it('make a credential whose key stays out of logs and JSON', () => {
    const credential = readCredential(files, 'agent', Date.now())
    expect(credential.identity).to.deep.equal(AGENT)
    expect(credential.keyPem).to.equal(readFileSync(files.keyFile, 'utf8'))
    expect(JSON.stringify(credential)).not.to.include('PRIVATE')
    expect(Object.keys({ ...credential })).not.to.include('keyPem')
  })

  it('are refused when the key may be read by others', () => {
    chmodSync(files.keyFile, 0o640)
    expect(codeOf(read, 'KEY_EXPOSED').message).to.include('chmod 600')
  })

  it('are refused when one of them is not there, or too large', () => {
    for (const path of [files.certificateFile, files.keyFile]) {
      rmSync(path)
      expect(codeOf(read, 'FILE_UNREADABLE').message).to.include(path)
    }
    writeFileSync(files.keyFile, Buffer.alloc(300_000), { mode: 0o600 })
    codeOf(read, 'FILE_UNREADABLE')
  })

  it('are refused when the key is another, or none, and none of it is quoted', async () => {
    const other = await pki.issue(AGENT)
    writeFileSync(files.keyFile, readFileSync(other.keyFile))
    codeOf(read, 'KEY_MISMATCH')
    const secret = 'no key at all, but still a secret'
    writeFileSync(files.keyFile, secret)
    const error = codeOf(read, 'KEY_MISMATCH')
    expect([error.message, error.stack, String(error.cause)].join()).not.to.include(secret)
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const sealed = privateKey.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    })
    writeFileSync(files.keyFile, sealed)
    codeOf(read, 'KEY_LOCKED')
  })

  it('are refused when the certificate is none, expired or of another role', async () => {
    writeFileSync(files.certificateFile, 'no PEM')
    codeOf(read, 'CERTIFICATE_UNUSABLE')
    files = await pki.issue(CALLER)
    expect(codeOf(read, 'CERTIFICATE_UNUSABLE').message).to.include('the role is caller')
    files = await pki.issue(AGENT, { notAfter: new Date(Date.now() - 1000) })
    expect(codeOf(read, 'CERTIFICATE_UNUSABLE').message).to.include('expired on')
  })
})
