import { expect } from 'chai'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

describe('the build', function () {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-twice-'))
  })
  after(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  const hash = (path: string): string =>
    createHash('sha256').update(readFileSync(path)).digest('hex')

  /** Builds a copy of the sources in a folder of its own, at a time of its own. */
  function build(name: string, environment: Record<string, string>): Record<string, string> {
    const copy = join(folder, name)
    const files = execFileSync(
      'git',
      ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
      { cwd: ROOT, encoding: 'utf8' },
    )
    for (const file of files.split('\0').filter((one) => one !== '')) {
      mkdirSync(dirname(join(copy, file)), { recursive: true })
      cpSync(join(ROOT, file), join(copy, file))
    }
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
    const options = { cwd: copy, stdio: 'pipe', env: { ...process.env, ...environment } } as const
    execFileSync(process.execPath, ['scripts/build.ts'], options)
    const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', copy], options)
    execFileSync(process.execPath, ['scripts/package.ts', join(copy, 'single')], options)
    return {
      tarball: hash(join(copy, packed.toString().trim().split('\n').at(-1) ?? '')),
      agent: hash(join(copy, 'single/agent')),
      gateway: hash(join(copy, 'single/gateway')),
    }
  }

  it('gives the same tarball and the same single files, wherever and whenever it is made', () => {
    const one = build('one', { TZ: 'UTC', LANG: 'C' })
    const other = build('another-place', { TZ: 'Asia/Tokyo', LANG: 'de_DE.UTF-8' })
    expect(other).to.deep.equal(one)
  })
})
