import type { Agent } from '../../src/agent/agent.ts'
import { agentStatus, type AgentStatus } from '../../src/agent/control/control.ts'

/** The status of an agent as it would be after the next look at its health, which the daemon takes once a second. */
export function statusNow(agent: Agent, nowWallMs: number): AgentStatus {
  agent.health.judge()
  return agentStatus(agent, nowWallMs)
}
