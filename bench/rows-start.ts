import { execFileSync, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sleep } from './measure.ts'
import type { Rig } from './rig.ts'
import { boundRow, type Pace, type Row } from './row.ts'

const PACKAGE = fileURLToPath(new URL('../scripts/package.ts', import.meta.url))
const GOAL_S = 1
const LEAST_ROUNDS = 5

/** start: from the start of the packaged agent to its welcome, against the same from its sources. */
export async function startRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { agent, ports } = await rig.tunnel()
  await agent.stop()
  const folder = join(rig.folder, 'bin')
  execFileSync(process.execPath, [PACKAGE, folder], { stdio: 'ignore' })
  const file = join(rig.folder, 'start.yaml')
  const settings = {
    ...rig.flags('agent'),
    'gateway.address': `localhost:${String(ports.agents)}`,
    'status.socket': join(rig.folder, 'start.sock'),
    'state.directory': join(rig.folder, 'start-state'),
  }
  writeFileSync(file, JSON.stringify(settings))
  const sources = fileURLToPath(new URL('../bin/agent.js', import.meta.url))
  const packaged: number[] = []
  const plain: number[] = []
  for (let round = 0; round < Math.max(LEAST_ROUNDS, pace.rounds); round++) {
    packaged.push(await startOnce([join(folder, 'agent')], file))
    plain.push(await startOnce([process.execPath, sources], file))
  }
  return [
    boundRow({
      id: 'start',
      what: 'from the start of the packaged agent to its welcome, on loopback',
      value: median(packaged),
      unit: 's',
      under: GOAL_S,
      reference: median(plain),
      referenceWhat: 'from its sources',
    }),
  ]
}

async function startOnce(
  [program = '', ...args]: readonly string[],
  file: string,
): Promise<number> {
  const beganAtMs = performance.now()
  const child = spawn(program, [...args, 'run', '--config', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = new Promise((resolve) => child.once('close', resolve))
  await new Promise<void>((resolve, reject) => {
    let text = ''
    child.stderr.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.includes('the tunnel is up')) resolve()
    })
    child.once('exit', () => {
      reject(new Error(`the agent ended: ${text}`))
    })
  })
  const seconds = (performance.now() - beganAtMs) / 1000
  child.kill('SIGKILL')
  await ended
  await sleep(100)
  return seconds
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
