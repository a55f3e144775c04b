import { judgeAgentSettings } from '../../agent/judge-settings.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { agentCerts } from '../agent-certs/agent-certs.ts'
import { agentEnroll } from './enroll.ts'
import { configCommand, type Command, type CommandGroup } from '../program/program.ts'
import { agentHealth } from './health.ts'
import { agentAudit } from '../agent-audit/agent-audit.ts'
import { agentLockdown, agentPolicy, agentSeal } from '../agent-guard/agent-guard.ts'
import { agentProve } from '../agent-prove/agent-prove.ts'
import { agentPosture } from '../posture/posture.ts'
import { agentDiag } from './diag.ts'
import { agentDoctor } from './doctor.ts'
import { agentService } from '../service/service.ts'
import { agentStatusCommand } from './status.ts'
import { agentRun } from './run.ts'
import { withPassphrase, withToken, withProxy } from '../daemon/daemon.ts'

/** The commands of agent, in the order of its help. */
export const AGENT_COMMANDS: readonly (Command | CommandGroup)[] = [
  agentRun,
  agentEnroll,
  agentStatusCommand,
  agentHealth,
  agentCerts,
  agentPolicy,
  agentLockdown,
  agentSeal,
  agentAudit,
  agentProve,
  agentPosture,
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
