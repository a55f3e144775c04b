import { judgeAgentSettings } from '../agent/judge-settings.ts'
import { AGENT_SETTINGS } from '../config/agent-settings.ts'
import { agentCerts } from './agent-certs.ts'
import { agentEnroll } from './agent-enroll.ts'
import { configCommand } from './config-command.ts'
import { agentHealth } from './agent-health.ts'
import { agentDiag } from './agent-diag.ts'
import { agentDoctor } from './agent-doctor.ts'
import { agentService } from './service.ts'
import { agentStatusCommand } from './agent-status.ts'
import { agentRun } from './agent-run.ts'
import type { AddCommand } from './program.ts'
import { withPassphrase, withToken } from './systemd-credentials.ts'
import { withProxy } from './proxy-environment.ts'

export const AGENT_COMMANDS: readonly AddCommand[] = [
  agentRun,
  agentEnroll,
  agentStatusCommand,
  agentHealth,
  agentCerts,
  agentDoctor,
  agentDiag,
  agentService,
  configCommand(AGENT_SETTINGS, (values, ambient, environment) => {
    const settings = withProxy(
      withPassphrase(withToken(values, environment), environment),
      environment,
    )
    return judgeAgentSettings(settings, ambient)
  }),
]
