import { PosternError } from '../base/errors.ts'
import type { AgentSettings } from './agent-settings.ts'
import type { ForwardService } from '../dataplane/forwards.ts'
import { DATA_TYPE_NAMES, DATA_TYPES, type DataType } from '../wire/data-type.ts'

/**
 * The services of the agent's file, judged with the rest of it: data that must never cross is
 * refused here, at start.
 * @throws CONFIG_INVALID
 */
export function judgeAgentServices(settings: AgentSettings): ForwardService[] {
  const { services, allow } = settings
  if (settings['backoff.min'] > settings['backoff.max'])
    throw new PosternError('CONFIG_INVALID', 'backoff.min is above backoff.max')
  const names = new Set<string>()
  const judged = services.map(({ name, target, dataType }) => {
    if (names.has(name)) throw new PosternError('CONFIG_INVALID', `services: ${name} stands twice`)
    names.add(name)
    return { name, target, dataType: judgedDataType(name, dataType) }
  })
  for (const service of allow.flatMap((rule) => rule.services)) {
    if (service === '*' || names.has(service)) continue
    const text = `allow: ${JSON.stringify(service)} names no service of services`
    throw new PosternError('CONFIG_INVALID', text)
  }
  judgeProbes(settings, names)
  return judged
}

function judgeProbes(
  { probes, 'probe.exec': exec }: AgentSettings,
  names: ReadonlySet<string>,
): void {
  for (const { service, type } of probes) {
    if (!names.has(service)) {
      const text = `probes: ${JSON.stringify(service)} names no service of services`
      throw new PosternError('CONFIG_INVALID', text)
    }
    if (type === 'exec' && exec !== 'allowed') {
      const text = `probes: ${service}: commands are run where probe.exec is "allowed" only`
      throw new PosternError('CONFIG_INVALID', text)
    }
  }
}

function judgedDataType(name: string, dataType: string): DataType {
  const known = DATA_TYPE_NAMES.find((one) => one === dataType)
  const mayCross = DATA_TYPE_NAMES.filter((one) => DATA_TYPES[one].crosses !== 'never')
  if (known === undefined) {
    const text = `services: ${name}: dataType must be one of ${mayCross.join(', ')}; for a database's protocol and the like service-traffic. docs/PROTOCOL.md, section 7, says what each holds`
    throw new PosternError('CONFIG_INVALID', text)
  }
  if (DATA_TYPES[known].crosses === 'never') {
    const text = `services: ${name}: data of type ${known} never crosses the tunnel`
    throw new PosternError('CONFIG_INVALID', text)
  }
  return known
}
