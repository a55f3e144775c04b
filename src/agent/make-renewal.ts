import type { AgentSettings } from '../config/agent-settings.ts'
import type { Egress } from '../transport/egress.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import { Renewal } from './renewal.ts'
import type { Timeline } from './timeline.ts'
import type { Tunnels } from './tunnels.ts'
import { askForRenewal } from './ways-to-renew.ts'

export interface RenewalOfAgent {
  readonly settings: AgentSettings
  readonly ambient: Ambient
  readonly keeper: IdentityKeeper
  readonly tunnels: Tunnels
  readonly timeline: Timeline
  readonly egress: Egress
  readonly enrolUrl: () => URL | undefined
}

/** The renewal of a certificate that the agent manages itself, over whatever way is open. */
export function makeRenewal(parts: RenewalOfAgent): Renewal {
  const { settings, keeper, tunnels, timeline, egress, enrolUrl } = parts
  const { clock, random } = parts.ambient
  const logger = parts.ambient.logger.child({ component: 'renewal' })
  const url = settings['identity.renewUrl']
  return new Renewal({
    generations: keeper.generations,
    clock,
    random,
    logger,
    apartMs: settings['identity.renewApart'],
    credential: () => keeper.credential,
    trust: () => keeper.trust,
    exclusively: (act) => keeper.exclusively(act),
    ask: (signingRequest) =>
      askForRenewal(
        {
          tunnels,
          credential: () => keeper.credential,
          issuingKeys: () => keeper.trust.issuingKeys,
          egress,
          renewUrl: url === undefined ? undefined : new URL(url),
          enrolUrl: enrolUrl(),
          nowMs: () => clock.wallMs(),
        },
        signingRequest,
      ),
    onRenewed: async () => {
      timeline.note('certificate', 'renewed')
      try {
        await keeper.renewed()
      } catch (error) {
        // The certificate is there; that the tunnel goes over to it is looked after.
        logger.warn({ err: error }, 'the tunnel could not go over to the new certificate yet')
      }
      tunnels.hurry()
    },
  })
}
