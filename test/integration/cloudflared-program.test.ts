import { expect } from 'chai'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runTool } from '../support/openssl.ts'
import { ConnectorStack } from '../support/cloudflare/connector-stack.ts'
import { eventually } from '../support/eventually.ts'
import { noteText } from '../support/seen.ts'
import type { Agent } from '../../src/agent/agent.ts'

describe('a cloudflared that is not as it should be', function () {
  this.timeout(180_000)
  let at: ConnectorStack
  beforeEach(async () => {
    at = await ConnectorStack.start(true)
  })
  afterEach(() => {
    at.stop()
  })

  const untilSaid = async (agent: Agent, what: string): Promise<string> =>
    await eventually(() => {
      const { reason } = at.connector(agent)
      return reason?.includes(what) === true && reason
    }, `it says: ${what}`)
  const dial = (more: Record<string, string>): Promise<Agent> =>
    at.stack.dialAgent({ ...at.flags, ...more })

  it('is not run where it is missing, too old, or not the one that is pinned', async () => {
    const missing = await dial({ 'cloudflared.path': '/nowhere/cloudflared' })
    await untilSaid(missing, '/nowhere/cloudflared')
    const error = await eventually(() => {
      const { lastError } = missing.tunnel
      return lastError?.code === 'CONNECTOR_MISSING' && lastError
    }, 'the tunnel says so')
    noteText(error.code)
    missing.stop()
    for (const [version, isTaken] of [
      ['2024.12.2', false],
      ['2025.6.0', false],
      ['DEV', false],
      ['2025.6.1', true],
      ['2026.10.0-rc1', true],
    ] as const) {
      const path = at.program({ FAKE_VERSION: version }, `cloudflared-${version}`)
      const agent = await dial({ 'cloudflared.path': path })
      if (isTaken) await eventually(() => at.connector(agent).pid > 0, 'it runs')
      else await untilSaid(agent, `is version ${version}; 2025.6.1 is needed at least`)
      expect(at.connector(agent).starts).to.equal(isTaken ? 1 : 0)
      agent.stop()
    }
    const pinned = await dial({ 'cloudflared.sha256': '0'.repeat(64) })
    await untilSaid(pinned, `pins ${'0'.repeat(64)}`)
    expect(at.connector(pinned).starts).to.equal(0)
    pinned.stop()
    const hash = createHash('sha256').update(readFileSync(at.program())).digest('hex')
    const right = await at.startAgent({ 'cloudflared.sha256': hash })
    expect(at.connector(right).pinned).to.equal(true)
  })

  it('is replaced where another runs than was checked', async () => {
    const path = at.program({ FAKE_SELF: process.execPath }, 'another')
    const hash = createHash('sha256').update(readFileSync(path)).digest('hex')
    const agent = await dial({ 'cloudflared.path': path, 'cloudflared.sha256': hash })
    await untilSaid(agent, 'what runs has SHA-256')
  })

  it('is a failure when it ends by itself, whatever its exit status', async () => {
    const usage = await dial({ 'cloudflared.path': at.program({ FAKE_USAGE: '1' }, 'usage') })
    await untilSaid(usage, 'exit status 0, and printed its usage')
    usage.stop()
    const dns = await dial({ 'cloudflared.path': at.program({ FAKE_DNS: '1' }, 'dns') })
    await untilSaid(dns, 'exit status 1; it last said: Could not lookup srv records')
  })

  it('takes HTTP/2 at its next start where UDP is blocked', async () => {
    const agent = await at.dialAgent({
      'cloudflared.protocol': 'auto',
      'cloudflared.startTimeout': '2s',
    })
    await eventually(() => at.connector(agent).errors.length > 0, 'QUIC fails')
    expect(at.connector(agent).protocol).to.equal('quic')
    await at.untilUp(agent)
    expect(at.connector(agent)).to.include({ protocol: 'http2', starts: 2 })
    // What has worked is kept.
    process.kill(at.connector(agent).pid, 'SIGKILL')
    await eventually(() => at.connector(agent).starts === 3, 'it is started again')
    await at.untilUp(agent)
    expect(at.connector(agent).protocol).to.equal('http2')
  })

  it('is ended whatever it has started, and leaves nothing where the agent stops at its start', async () => {
    const path = join(at.stack.pki.folder, 'wrapper')
    const script =
      '#!/bin/sh\n[ "$1" = version ] && echo 2026.8.2 && exit\nsleep 600 &\necho $! >&2\nwait\n'
    writeFileSync(path, script, { mode: 0o755 })
    const agent = await dial({ 'cloudflared.path': path })
    const pid = await eventually(
      () => at.connector(agent).pid > 0 && at.connector(agent).pid,
      'it runs',
    )
    const childOf = (): string => runTool('pgrep', ['-r', 'R,S,D', '-g', String(pid)]).output.trim()
    await eventually(() => childOf().split('\n').length > 1, 'it has started another')
    await agent.drain()
    expect(childOf()).to.equal('')
    for (const waitMs of [0, 5, 50, 200]) {
      const early = await dial({})
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      await early.drain()
      expect(at.connector(early)).to.include({ state: 'stopped', pid: 0 })
    }
  })

  it('is started once at a time, also where no note can be made of it', async () => {
    const { folder } = at.stack.pki
    mkdirSync(join(folder, 'state/cloudflared.pid/x'), { recursive: true })
    const agent = await at.startAgent()
    expect(at.connector(agent).starts).to.equal(1)
  })

  it('is not the only way: an agent with another falls back, and says why', async () => {
    const agent = await dial({
      ...{ via: 'cloudflare-connector,direct', 'cloudflared.path': '/nowhere/cloudflared' },
      // What will not mend by itself is retried this slowly, where there is nothing else.
      ...{ 'backoff.max': '1h', 'backoff.min': '50ms' },
    })
    await at.untilUp(agent)
    const { ways } = agent.tunnels.report().ways
    expect(ways[0]?.failure).to.include('CONNECTOR_MISSING')
    expect(agent.tunnels.report().main.via).to.equal('direct')
    expect(existsSync('/nowhere')).to.equal(false)
  })
})
