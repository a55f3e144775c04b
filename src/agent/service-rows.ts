import { PosternError } from '../base/errors.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import type { ForwardService } from '../dataplane/forwards.ts'
import { DATA_TYPE_NAMES, DATA_TYPES } from '../wire/data-type.ts'

/**
 * The services of the agent's file, judged: data that must never cross is refused here, at start.
 * @throws CONFIG_INVALID
 */
export function serviceRows(settings: AgentSettings): ForwardService[] {
  const names = new Set<string>()
  return settings.services.map(({ name, target, dataType }) => {
    if (names.has(name)) throw new PosternError('CONFIG_INVALID', `services: ${name} stands twice`)
    names.add(name)
    const known = DATA_TYPE_NAMES.find((one) => one === dataType)
    if (known === undefined) {
      const text = `services: ${name}: dataType must be one of ${DATA_TYPE_NAMES.join(', ')}`
      throw new PosternError('CONFIG_INVALID', text)
    }
    if (DATA_TYPES[known].crosses === 'never') {
      throw new PosternError(
        'CONFIG_INVALID',
        `services: ${name}: data of type ${known} never crosses the tunnel`,
      )
    }
    return { name, target, dataType: known }
  })
}
