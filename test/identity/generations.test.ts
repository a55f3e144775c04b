import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Generations } from '../../src/identity/generations.ts'
import { readCredential, type KeyFilePaths } from '../../src/identity/key-files.ts'
import { makeKey } from '../../src/identity/keys.ts'
import { codeOf, rejection } from '../support/code-of.ts'
import { AGENT, TestPki } from '../support/pki.ts'

const DYING = fileURLToPath(new URL('../support/install-and-die.ts', import.meta.url))
const NOW = Date.UTC(2026, 10, 23)

describe('an identity on disk', function () {
  let folder: string
  let generations: Generations
  let files: readonly [KeyFilePaths, KeyFilePaths]
  before(async () => {
    const pki = await TestPki.create()
    files = [await pki.issue(AGENT), await pki.issue(AGENT)]
  })
  beforeEach(() => {
    folder = join(mkdtempSync(join(tmpdir(), 'postern-state-')), 'agent')
    generations = new Generations(folder)
  })
  afterEach(() => {
    rmSync(join(folder, '..'), { recursive: true })
  })

  const read = ({ certificateFile, keyFile, bundleFile }: KeyFilePaths) => ({
    chainPem: readFileSync(certificateFile, 'utf8'),
    keyPem: readFileSync(keyFile, 'utf8'),
    key: createPrivateKey(readFileSync(keyFile)),
    bundlePem: readFileSync(bundleFile, 'utf8'),
  })
  /** The chain of the current generation, after the whole of it was judged. */
  const current = (): string => {
    const paths = generations.current
    if (paths === undefined) return 'none'
    readCredential(paths, 'agent', Date.now())
    return readFileSync(paths.certificateFile, 'utf8')
  }

  it('is whole, for its owner alone, and keeps the one before', () => {
    expect(current()).to.equal('none')
    for (const paths of [files[0], files[1], files[0]]) {
      generations.install(read(paths), NOW)
      expect(current()).to.equal(read(paths).chainPem)
    }
    expect(readdirSync(folder).sort()).to.deep.equal(['current', 'gen-000002', 'gen-000003'])
    expect(readlinkSync(join(folder, 'current'))).to.equal('gen-000003')
    for (const path of [folder, join(folder, 'gen-000003'), join(folder, 'gen-000003/key.pem')])
      expect(statSync(path).mode & 0o077, path).to.equal(0)
  })

  it('is usable, old or new, whatever step of a change kill -9 comes at', () => {
    generations.install(read(files[0]), NOW)
    const [old, fresh] = files.map((paths) => read(paths).chainPem)
    const { certificateFile, keyFile, bundleFile } = files[1]
    let kills = 0
    let hasSwitched = false
    for (let step = 1; ; step++) {
      const args = [DYING, folder, certificateFile, keyFile, bundleFile, String(step)]
      const { status, signal } = spawnSync(process.execPath, args)
      if (signal === 'SIGKILL') kills++
      else expect(status).to.equal(0)
      expect(current(), `step ${String(step)}`).to.be.oneOf([old, fresh])
      if (current() === fresh) hasSwitched = true
      else expect(hasSwitched, 'back to the old one').to.equal(false)
      if (status === 0) break
    }
    expect(kills).to.be.greaterThan(20)
    generations.install(read(files[0]), NOW)
    expect(current()).to.equal(old)
    expect(readdirSync(folder).filter((name) => name.startsWith('gen-'))).to.have.lengthOf(2)
  })

  it('keeps the key of a request under way, and asks again with the same', async () => {
    let made = 0
    const make = async () => {
      made++
      return await makeKey('p256')
    }
    const { keyPem: first } = await generations.pendingKey(make)
    expect((await new Generations(folder).pendingKey(make)).keyPem).to.equal(first)
    expect(made).to.equal(1)
    generations.dropPending()
    expect((await generations.pendingKey(make)).keyPem).not.to.equal(first)
    writeFileSync(join(folder, 'pending/key.pem'), first, { mode: 0o644 })
    rmSync(join(folder, 'pending/key.pem'))
    writeFileSync(join(folder, 'pending/key.pem'), first, { mode: 0o644 })
    await rejection(generations.pendingKey(make), 'KEY_EXPOSED')
  })

  it('takes no certificate for another key, and no folder of somebody else', () => {
    const { key, keyPem } = read(files[1])
    const mixed = { ...read(files[0]), key, keyPem }
    codeOf(() => {
      generations.install(mixed, NOW)
    }, 'KEY_MISMATCH')
    mkdirSync(join(folder, 'current'), { recursive: true })
    codeOf(() => {
      generations.install(read(files[0]), NOW)
    }, 'STATE_UNWRITABLE')
  })

  it('says when it cannot be written, and loses nothing', () => {
    generations.install(read(files[0]), NOW)
    const blocked = new Generations('/dev/null/postern')
    codeOf(() => {
      blocked.install(read(files[1]), NOW)
    }, 'STATE_UNWRITABLE')
    symlinkSync('/dev/full', join(folder, '.current.new'))
    generations.install(read(files[1]), NOW)
    expect(current()).to.equal(read(files[1]).chainPem)
  })
})
