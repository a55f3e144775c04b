import type { AgentSettings } from '../../config/agent-settings.ts'
import { checkTarget } from '../../dataplane/check-target.ts'
import { Probes, type ServiceHealth } from '../../dataplane/probes.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'

/** The probes of the settings, each of the target of its service or of its own. `onChange`: a service went up or down. */
export function makeProbes(
  { services, probes }: AgentSettings,
  { clock, random, logger }: Ambient,
  onChange: (health: ServiceHealth) => void,
): Probes {
  return new Probes(probes, {
    clock,
    random,
    check: async (row, signal) => {
      const target = row.target ?? services.find(({ name }) => name === row.service)?.target
      if (target !== undefined) await checkTarget(row, target, signal)
    },
    onChange: (health) => {
      const { name: service, isDown, reason } = health
      const facts = { component: 'probes', service, reason }
      if (isDown) logger.warn(facts, 'a service is down')
      else logger.info(facts, 'a service is up')
      onChange(health)
    },
  })
}
