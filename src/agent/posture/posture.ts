import type { AgentSettings } from '../../config/agent-settings.ts'
import { Posture } from '../../gen/postern/v1/posture_pb.js'
import type { Offer } from '../../rpc/service.ts'
import { offersOf } from '../../rpc/typed.ts'
import { agentPosture, type LookPorts } from './look.ts'

/** The values and collaborators of the posture of an agent. */
export interface PosturePorts extends LookPorts {
  /** Those in force. */
  readonly settings: () => AgentSettings
}

/** Returns `postern.v1.Posture`, for the local socket of an agent. What it needs is read when somebody asks. */
export function postureOffers(ports: PosturePorts): Offer[] {
  return offersOf(Posture, {
    look: async (_request, { signal }) => {
      const findings = await agentPosture(ports.settings(), ports, signal)
      return { findings: findings.map((one) => ({ ...one })) }
    },
  })
}

export { agentPosture } from './look.ts'
export { PostureWatch } from './summary.ts'
