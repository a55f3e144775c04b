import { expect } from 'chai'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LocalListener } from '../../src/transport/local-socket.ts'
import { rejection } from '../support/code-of.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const AGENT = `${ROOT}bin/agent.js`

describe('the programs, as processes', function () {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-process-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  const shell = (text: string) => {
    const { status, stdout, stderr } = spawnSync('bash', ['-c', text], {
      encoding: 'utf8',
      env: { ...process.env, AGENT, NODE: process.execPath },
    })
    return { status, stdout, stderr }
  }

  it('end without a word when their reader has had enough', () => {
    const { stdout, stderr } = shell('"$NODE" "$AGENT" run --help | head -1; echo ${PIPESTATUS[0]}')
    expect(stdout).to.match(/^agent run\n+0\n$/)
    expect(stderr).to.equal('')
  })

  it('say so when their output cannot be written', () => {
    const { status, stderr } = shell('"$NODE" "$AGENT" run --help > /dev/full')
    expect(status).to.equal(74)
    expect(stderr).to.equal('[STATE_UNWRITABLE] the output cannot be written: the disk is full\n')
  })

  it('end by a SIGTERM in the first moments, before anything else of them runs', () => {
    for (const delay of ['0.15', '0.3', '0.5']) {
      const script = `"$NODE" -e 'import(process.env.EARLY); setTimeout(() => {}, 20000)' & pid=$!; sleep ${delay}; kill -TERM $pid; wait $pid`
      const { status } = spawnSync('bash', ['-c', script], {
        env: {
          ...process.env,
          NODE: process.execPath,
          EARLY: `${ROOT}src/cli/program/early-signals.ts`,
        },
      })
      expect(status).to.equal(143)
    }
  })

  it('name no field twice in a log line, and levels by name', () => {
    const script = `
      import { makeLogger } from ${JSON.stringify(`${ROOT}src/cli/program/log.ts`)}
      const log = makeLogger('info', 'agent').child({ role: 'agent', trustDomain: 'a' })
      log.child({ component: 'x' }).warn({ role: 'gateway', trustDomain: 'b', peer: '\\u202e\\u009b' }, 'said')`
    const args = ['--input-type=module', '-e', script]
    const { stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    expect(stderr.match(/"role"/g)).to.have.length(1)
    expect(JSON.parse(stderr)).to.include({ level: 'warn', role: 'gateway', component: 'x' })
    expect(stderr).to.include('\\u202e\\u009b')
  })

  describe('a local socket', () => {
    const listener = (path: string) => new LocalListener(path, () => undefined)

    it('of a successor stays when the one before it goes', async () => {
      const path = join(folder, 'run/a.sock')
      const first = listener(path)
      await first.listen()
      // As if the first had been thought dead.
      rmSync(path)
      const second = listener(path)
      await second.listen()
      first.close()
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(existsSync(path)).to.equal(true)
      second.close()
      expect(existsSync(path)).to.equal(false)
    })

    it('whose path is too long is refused with the length', async () => {
      const path = join(folder, 'x'.repeat(100), 'a.sock')
      const error = await rejection(listener(path).listen(), 'LISTEN_FAILED')
      expect(error.message).to.include('at most 99 bytes').and.include('status.socket')
    })

    it('in a folder that anybody may write to is refused with advice that can be followed', async () => {
      for (const mode of [0o777, 0o2777]) {
        const open = join(folder, mode.toString(8))
        mkdirSync(open)
        execFileSync('chmod', [mode.toString(8), open])
        const error = await rejection(listener(join(open, 'agent.sock')).listen(), 'LISTEN_FAILED')
        expect(error.message).to.include(join(open, 'agent'))
        const followed = listener(join(open, 'agent', 'agent.sock'))
        await followed.listen()
        followed.close()
      }
    })
  })

  it('name the encoding of settings that are not UTF-8', () => {
    const file = join(folder, 'agent.yaml')
    for (const bytes of [
      Buffer.from('\ufefftrustDomain: a.test', 'utf16le'),
      Buffer.from('trustDomain: a.test', 'utf16le'),
    ]) {
      writeFileSync(file, bytes)
      const { status, stderr } = spawnSync(
        process.execPath,
        [AGENT, 'config', 'check', '--config', file],
        { encoding: 'utf8' },
      )
      expect(status).to.equal(66)
      expect(stderr).to.include('UTF-16').and.include('save it as UTF-8')
    }
  })
})
