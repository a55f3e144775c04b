import { expect } from 'chai'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { generateKeyPairSync } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  lookAtFileSystem,
  lookAtHardening,
  lookAtKey,
  lookAtMemory,
  lookAtMode,
} from '../../src/identity/at-rest.ts'

describe('what lies at rest', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-at-rest-'))
  })
  after(() => {
    rmSync(folder, { recursive: true })
  })

  it('is kept from others, or said not to be', () => {
    chmodSync(folder, 0o700)
    expect(lookAtMode(folder).outcome).to.equal('OK')
    chmodSync(folder, 0o750)
    expect(lookAtMode(folder)).to.deep.include({ outcome: 'FAIL' })
    expect(lookAtMode(folder).evidence).to.include('0750')
    expect(lookAtMode(join(folder, 'none'))).to.deep.include({
      outcome: 'UNKNOWN',
      evidence: 'ENOENT',
    })
  })

  it('holds keys that are encrypted, or are not', () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const path = join(folder, 'key.pem')
    const form = { type: 'pkcs8', format: 'pem' } as const
    writeFileSync(path, privateKey.export(form))
    expect(lookAtKey(path)?.outcome).to.equal('WARN')
    writeFileSync(path, privateKey.export({ ...form, cipher: 'aes-256-cbc', passphrase: 'x' }))
    expect(lookAtKey(path)?.outcome).to.equal('OK')
    expect(lookAtKey(join(folder, 'none'))).to.equal(undefined)
  })

  it('is on a file system of which the kernel tells, or does not', () => {
    expect(lookAtFileSystem('/dev/shm')).to.deep.include({ outcome: 'OK' })
    expect(lookAtFileSystem('/dev/shm').evidence).to.include('tmpfs')
    expect(lookAtFileSystem('/proc').outcome).to.equal('UNKNOWN')
    expect(lookAtFileSystem(join(folder, 'none')).outcome).to.equal('UNKNOWN')
  })

  it('is looked at in this process too, with a line for each', () => {
    expect(lookAtMemory().map(({ check }) => check)).to.deep.equal([
      'no memory in swap',
      'no core dumps',
    ])
    const found = lookAtHardening()
    expect(found.map(({ check }) => check)).to.deep.equal([
      ...['not root', 'no new privileges', 'no capabilities', 'system calls filtered'],
    ])
    const isRoot = process.getuid?.() === 0
    expect(found[0]?.outcome).to.equal(isRoot ? 'WARN' : 'OK')
  })
})
