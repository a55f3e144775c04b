import { expect } from 'chai'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Generations } from '../../src/identity/generations.ts'
import { KeyProtection } from '../../src/identity/key-protection.ts'
import { KEY_KINDS, makeKey, privatePem } from '../../src/identity/keys.ts'
import { readProtection } from '../../src/identity/passphrase.ts'
import { codeOf } from '../support/code-of.ts'
import { openssl } from '../support/openssl.ts'

const PASSPHRASE = 'correct horse'

describe('a private key on disk', function () {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-key-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })
  const put = (name: string, text: string, mode = 0o600): string => {
    writeFileSync(join(folder, name), text, { mode })
    return join(folder, name)
  }

  for (const kind of KEY_KINDS)
    it(`of kind ${kind} under a passphrase is PKCS#8 that OpenSSL opens with it, and nobody without`, async () => {
      const key = await makeKey(kind)
      const sealed = await new KeyProtection(PASSPHRASE).seal(key)
      expect(sealed).to.include('BEGIN ENCRYPTED PRIVATE KEY')
      const file = put('key.pem', sealed)
      const opened = openssl(['pkey', '-in', file, '-passin', `pass:${PASSPHRASE}`])
      expect(opened.stdout.toString()).to.equal(privatePem(key))
      expect(openssl(['pkey', '-in', file, '-passin', 'pass:wrong']).status).not.to.equal(0)
      const parameters = openssl(['asn1parse', '-in', file]).output
      expect(parameters).to.include('PBKDF2').and.to.include('hmacWithSHA256')
      expect(parameters).to.include('aes-256-cbc').and.to.include('0927C0')
    })

  it('is refused with a wrong passphrase or none, and none of it is quoted', async () => {
    const sealed = await new KeyProtection(PASSPHRASE).seal(await makeKey('p256'))
    for (const protection of [new KeyProtection('wrong'), new KeyProtection()]) {
      const error = codeOf(() => protection.open(sealed, 'key.pem'), 'KEY_LOCKED')
      const told = [error.message, error.stack, String(error.cause)].join()
      expect(told).not.to.include(PASSPHRASE).and.not.to.include(sealed.slice(40, 80))
    }
  })

  it('has its passphrase from a file for its owner alone, or from a program', () => {
    const file = put('passphrase', `${PASSPHRASE}\nmore\n`)
    expect(readProtection({ file, command: [] }).isOn).to.equal(true)
    expect(readProtection({ file: undefined, command: ['printf', 'x'] }).isOn).to.equal(true)
    expect(readProtection({ file: undefined, command: [] }).isOn).to.equal(false)
    const open = put('open', PASSPHRASE, 0o644)
    codeOf(() => readProtection({ file: open, command: [] }), 'KEY_EXPOSED')
    codeOf(() => readProtection({ file: put('empty', '\n'), command: [] }), 'KEY_LOCKED')
    codeOf(() => readProtection({ file, command: ['printf', 'x'] }), 'CONFIG_INVALID')
    for (const command of [['false'], ['/nowhere/at/all'], ['true']])
      codeOf(() => readProtection({ file: undefined, command }), 'KEY_LOCKED')
    const leaky = ['sh', '-c', 'echo secret-of-the-kms; exit 3']
    const error = codeOf(() => readProtection({ file: undefined, command: leaky }), 'KEY_LOCKED')
    expect([error.message, String(error.cause)].join()).not.to.include('secret-of-the-kms')
  })

  it('that was made in clear before there was a passphrase is not used for a new certificate (Boundary CVE-2023-0690)', async () => {
    const make = () => makeKey('p256')
    const clear = await new Generations(folder).pendingKey(make)
    expect(clear.keyPem).to.include('BEGIN PRIVATE KEY')
    const sealed = await new Generations(folder, new KeyProtection(PASSPHRASE)).pendingKey(make)
    expect(sealed.keyPem).to.include('BEGIN ENCRYPTED PRIVATE KEY')
    expect(sealed.key.equals(clear.key)).to.equal(false)
    expect(readFileSync(join(folder, 'pending/key.pem'), 'utf8')).to.equal(sealed.keyPem)
  })
})
