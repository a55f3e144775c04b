import { expect } from 'chai'
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { runTool } from '../support/openssl.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const EXPOSURE_MAX = 1.5

describe('systemd', function () {
  let folder: string
  const children: ChildProcess[] = []
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-systemd-'))
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  })

  for (const name of ['agent', 'gateway']) {
    const unit = `postern-${name}.service`
    it(`finds nothing wrong with ${unit}, and little that it exposes`, () => {
      const text = readFileSync(join(ROOT, 'systemd', unit), 'utf8')
      // What it starts must be there for the check alone.
      const copy = join(folder, unit)
      writeFileSync(copy, text.replace(/^ExecStart=\S+/m, 'ExecStart=/bin/true'))
      const verified = runTool('systemd-analyze', ['verify', copy])
      expect([verified.status, verified.output]).to.deep.equal([0, ''])
      const judged = runTool('systemd-analyze', ['security', '--offline=true', copy])
      const [, exposure = '10'] = /exposure level for \S+: ([\d.]+)/.exec(judged.output) ?? []
      expect(Number(exposure)).to.be.at.most(EXPOSURE_MAX)
      expect(text)
        .to.include('LimitCORE=0\nMemorySwapMax=0')
        .and.to.match(/^ExecReload=.*HUP/m)
      expect(text).to.include(`User=postern-${name}`)
    })
  }

  it('is told when the tunnel is up, how it is, of a reload and of the end, and the watchdog is fed', async () => {
    const plane = await ControlPlane.start()
    try {
      await plane.enroll('a-1')
      const [socket, heard] = [join(folder, 'notify'), join(folder, 'heard')]
      const listener = spawn('socat', ['-u', `UNIX-RECV:${socket}`, `OPEN:${heard},creat,append`])
      children.push(listener)
      await eventually(() => runTool('test', ['-S', socket]).status === 0, 'somebody listens')
      const settings = {
        gateway: { address: `localhost:${String(plane.addresses.agents.port)}` },
        trustDomain: DOMAIN,
        state: { directory: plane.stateOf('a-1') },
        status: { socket: join(folder, 'agent.sock') },
      }
      const config = join(folder, 'agent.yaml')
      writeFileSync(config, JSON.stringify(settings))
      const agent = spawn(process.execPath, [`${ROOT}bin/agent.js`, 'run', '--config', config], {
        env: { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '2000000' },
        stdio: 'ignore',
      })
      children.push(agent)
      const says = (words: string) =>
        eventually(() => readFileSync(heard, 'utf8').includes(words), words)
      await says('READY=1')
      await says('STATUS=healthy')
      await says('WATCHDOG=1')
      agent.kill('SIGHUP')
      await says('RELOADING=1')
      plane.gateway.stop()
      await says('STATUS=down; the tunnel is down')
      agent.kill('SIGTERM')
      await says('STOPPING=1')
    } finally {
      plane.stop()
    }
  })
})
