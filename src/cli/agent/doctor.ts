import { doctorSteps, type CheckStep } from '../../agent/doctor/doctor.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { stepText } from '../agent-certs/agent-certs.ts'
import { settingsOf, command, JSON_OPTION } from '../program/program.ts'
import { withPassphrase, withProxy } from '../daemon/daemon.ts'

const FAILED = 1

/** `agent doctor`: what is in the way. */
export const agentDoctor = command({
  path: 'doctor',
  describe:
    'Check the way to the gateway step by step: files, chain, DNS, TCP, TLS, session, clock. Exit 1: a step failed.',
  settings: { table: AGENT_SETTINGS },
  options: JSON_OPTION,
  run: async (args, surroundings) => {
    const { environment, output } = surroundings
    const { values } = settingsOf(AGENT_SETTINGS, args, environment)
    const steps: CheckStep[] = []
    const ambient = surroundings.ambient('error', 'doctor')
    for await (const step of doctorSteps(
      withProxy(withPassphrase(values, environment), environment),
      ambient,
    )) {
      steps.push(step)
      if (!args.json) output.result(stepText(step))
    }
    const isFine = steps.every(({ outcome }) => outcome !== 'FAIL')
    if (args.json) output.result(JSON.stringify({ fine: isFine, steps }, null, 2))
    return isFine ? 0 : FAILED
  },
})
