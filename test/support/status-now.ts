import type { Agent } from '../../src/agent/agent.ts'
import { agentStatus } from '../../src/agent/control/control.ts'
import { messageJson } from '../../src/cli/place/place.ts'
import { AgentStatusSchema, type AgentStatus } from '../../src/gen/postern/v1/agent_control_pb.js'

/** The messages within a status that are always there, which their types do not say. */
type AlwaysThere = 'tunnel' | 'calls' | 'buffers' | 'certificate' | 'trust' | 'clock'

/** A message as JSON holds it: what is absent is `null`. */
type Whole<T> = T extends string | number | boolean
  ? T
  : T extends readonly (infer Element)[]
    ? Whole<Element>[]
    : {
        readonly [Name in keyof T]-?:
          | Whole<NonNullable<T[Name]>>
          | (Name extends AlwaysThere ? never : undefined extends T[Name] ? null : never)
      }

/** What `agent status --json` prints. */
export type StatusJson = Whole<Omit<AgentStatus, '$typeName' | '$unknown'>>

/** The status of an agent as it would be after the next look at its health, which the daemon takes once a second. */
export function statusNow(agent: Agent, nowWallMs: number): StatusJson {
  agent.health.judge()
  return messageJson(
    AgentStatusSchema,
    agentStatus(agent.report(), nowWallMs),
  ) as unknown as StatusJson
}
