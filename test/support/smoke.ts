import { expect } from 'chai'
import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Child } from '../../scripts/child-processes.ts'
import { freePort } from '../../scripts/free-port.ts'
import { eventually } from './eventually.ts'

/** One way to install the two programs. */
export interface Installed {
  readonly version: string
  /** An empty folder that the programs may write to, and its path as a program sees it; default the same. */
  readonly folder: string
  readonly seenAs?: (program: 'agent' | 'gateway') => string
  /** Whom the agent runs as, where that is somebody else. */
  readonly agentUser?: number
  readonly start: (program: 'agent' | 'gateway', ...args: string[]) => Child
}

/** What must work, however the programs came here: version, help, init, run, enroll, call, status, stop. */
export async function smoke({
  version,
  folder,
  seenAs = () => folder,
  agentUser,
  start,
}: Installed): Promise<void> {
  const at = (...path: string[]): string => join(seenAs('gateway'), ...path)
  const agentAt = (...path: string[]): string => join(seenAs('agent'), ...path)
  const run = async (program: 'agent' | 'gateway', ...args: string[]): Promise<string> => {
    const child = start(program, ...args)
    expect(await child.ended, `${program} ${args.join(' ')}: ${child.text}`).to.equal(0)
    return child.text
  }
  for (const program of ['agent', 'gateway'] as const) {
    expect(await run(program, '--version')).to.equal(`${version}\n`)
    expect(await run(program, '--help')).to.include(`${program} run`)
  }
  const made = await run(
    'gateway',
    ...['init', '--dir', at('cp'), '--trust-domain', 'smoke.test', '--dns', 'localhost'],
  )
  const pin = /sha256:[0-9a-f]{64}/.exec(made)?.[0] ?? ''
  const ports = [await freePort(), await freePort(), await freePort(), await freePort()].map(String)
  const [agents = '', callers = '', enroll = '', renew = ''] = ports
  const settings = [
    ...['--config', at('cp/gateway.yaml'), '--agents-listen', `127.0.0.1:${agents}`],
    ...['--callers-listen', `127.0.0.1:${callers}`, '--enroll-listen', `127.0.0.1:${enroll}`],
    ...[
      '--enroll-renew-listen',
      `127.0.0.1:${renew}`,
      '--status-socket',
      at('run-gateway/gateway.sock'),
    ],
  ]
  const gateway = start('gateway', 'run', ...settings)
  await gateway.waitFor('gateway is listening', 300000)
  const created = await run('gateway', 'tokens', 'create', '--cluster', 'c-1', ...settings)
  const token = /postern_[0-9a-f]{12}_[\w-]{43}_[0-9a-f]{8}/.exec(created)?.[0] ?? ''
  writeFileSync(join(folder, 'token'), token, { mode: 0o600 })
  if (agentUser !== undefined) chownSync(join(folder, 'token'), agentUser, agentUser)
  const state = ['--state-directory', agentAt('state')]
  await run(
    'agent',
    ...['enroll', '--gateway', `https://localhost:${enroll}`, '--token-file', agentAt('token')],
    ...['--ca-pin', pin, ...state],
  )
  const allow = JSON.stringify([
    { caller: '*', methods: ['grpc.health.v1.Health/*'], services: [] },
  ])
  const agentSettings = [
    ...['--gateway-address', `localhost:${agents}`, '--trust-domain', 'smoke.test', ...state],
    ...['--status-socket', agentAt('run-agent/agent.sock'), '--allow', allow],
  ]
  const agent = start('agent', 'run', ...agentSettings)
  await agent.waitFor('the tunnel is up', 300000)
  await run('gateway', 'certs', 'issue', '--caller', 'smoke', '--dir', at('callers'), ...settings)
  const caller = ['--config', at('callers/smoke.yaml')]
  const answer = await run('gateway', 'call', 'c-1', 'grpc.health.v1.Health/Check', ...caller)
  expect(answer).to.include('SERVING')
  await eventually(async () => {
    const shown = start('agent', 'status', '--status-socket', agentAt('run-agent/agent.sock'))
    return (await shown.ended) === 0
  }, 'the agent says that it is healthy')
  await run('gateway', 'status', '--status-socket', at('run-gateway/gateway.sock'))
  for (const child of [agent, gateway]) {
    child.process.kill('SIGTERM')
    expect(await child.ended, child.text).to.equal(0)
  }
}
