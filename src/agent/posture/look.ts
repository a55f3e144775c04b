import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { about, seen, type Finding } from '../../base/finding.ts'

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
  ] = await Promise.all([
    import('./stores.ts'),
    import('./clickhouse.ts'),
    import('./secrets.ts'),
    import('./hops.ts'),
    import('./own.ts'),
  ])
  return [
    ...(await storeFindings(settings.stores, ports, signal)),
    ...registryFindings(settings),
    ...(await clickhouseFindings(settings.clickhouse, ports.random, signal)),
    ...(await secretFindings(settings.secrets, signal)),
    ...(await hopFindings(settings)),
    ...ownFindings(settings),
  ]
}

/** Registries of the Docker API tell nothing of how they store. */
function registryFindings({ executors }: AgentSettings): Finding[] {
  const hosts = new Set(
    executors.flatMap(({ images }) => images.map((one) => one.split('/')[0] ?? '')),
  )
  const text = "the registry API does not tell how images are stored: its cloud's console does"
  return [...hosts].flatMap((host) =>
    about('container registry', host, [seen('encryption at rest', 'UNKNOWN', text)]),
  )
}
