import type { AgentSettings } from '../../config/agent-settings.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { certificateSteps, type CheckStep } from '../../agent/doctor/doctor.ts'
import { type Surroundings, settingsOf } from '../program/program.ts'
import { withPassphrase, withProxy } from '../daemon/daemon.ts'

const FAILED = 1

/** `agent certs verify` without --leaf: our own certificate, against bundle and gateway, step by step. */
export async function checkOwn(
  args: { readonly config: string | undefined; readonly json: boolean },
  surroundings: Surroundings,
): Promise<number> {
  const { environment, output } = surroundings
  const config = args.config ?? environment.POSTERN_CONFIG
  const { values } = settingsOf(AGENT_SETTINGS, { config }, environment)
  const settings: AgentSettings = withProxy(withPassphrase(values, environment), environment)
  const steps: CheckStep[] = []
  const { clock } = surroundings.ambient('error', 'certs')
  for await (const step of certificateSteps(settings, clock)) {
    steps.push(step)
    if (!args.json) output.result(stepText(step))
  }
  const isFine = steps.every(({ outcome }) => outcome !== 'FAIL')
  if (args.json) output.result(JSON.stringify({ fine: isFine, steps }, null, 2))
  return isFine ? 0 : FAILED
}

/** One line, and below it what to do. */
export function stepText({ name, outcome, text, fix }: CheckStep): string {
  const line = `${outcome.padEnd(4)}  ${name.padEnd(12)} ${text}`
  return fix === undefined ? line : `${line}\n      ${' '.repeat(12)} -> ${fix}`
}
