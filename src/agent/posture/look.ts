import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import type { Finding } from '../../base/finding.ts'

/** The collaborators of a look. */
export interface LookPorts {
  readonly clock: Clock
  readonly random: Random
}

/** Looks at what is configured: each line with what was seen, never with a guess. */
export async function agentPosture(
  settings: AgentSettings,
  ports: LookPorts,
  signal: AbortSignal,
): Promise<Finding[]> {
  const [
    { storeFindings },
    { clickhouseFindings },
    { secretFindings },
    { hopFindings },
    { ownFindings },
    { registryFindings },
  ] = await Promise.all([
    import('./stores.ts'),
    import('./clickhouse.ts'),
    import('./secrets.ts'),
    import('./hops.ts'),
    import('./own.ts'),
    import('./registries.ts'),
  ])
  return [
    ...(await storeFindings(settings.stores, ports, signal)),
    ...(await registryFindings(settings.executors, ports, signal)),
    ...(await clickhouseFindings(settings.clickhouse, ports.random, signal)),
    ...(await secretFindings(settings.secrets, signal)),
    ...(await hopFindings(settings)),
    ...ownFindings(settings),
  ]
}
