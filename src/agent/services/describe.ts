import { forwardRows } from '../../config/service-row.ts'
import { VERSION } from '../../base/version.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { readCapacity } from '../../dataplane/capacity.ts'
import type { ClusterDescription } from '../../dataplane/cluster.ts'
import type { ServiceHealth } from '../../dataplane/probes.ts'
import type { Identity } from '../../identity/name.ts'
import type { BackendReport } from './data-plane.ts'

/** What a description is made of. */
export interface DescribePorts {
  readonly settings: AgentSettings
  readonly identity: Identity | undefined
  /** In wall-clock ms. */
  readonly startedAtMs: number
  readonly healths: readonly ServiceHealth[]
  readonly backends: readonly BackendReport[]
}

/** Describes this agent and its data plane: names and kinds, and none of the customer's addresses. */
export function describeCluster(ports: DescribePorts): ClusterDescription {
  const { settings, identity, startedAtMs, healths, backends } = ports
  const { cluster, agent } = identity?.role === 'agent' ? identity : { cluster: '', agent: '' }
  const { versions, platform, arch } = process
  return {
    ...{ cluster, agent, version: VERSION, capacity: readCapacity(settings['state.directory']) },
    platform: `node ${versions.node} ${platform} ${arch}`,
    startedAtMs: BigInt(Math.round(startedAtMs)),
    services: forwardRows(settings.services).map(({ name, dataType }) => ({ name, dataType })),
    health: healths.map((health) => ({
      ...{ name: health.name, isDown: health.isDown, reason: health.reason },
      sinceMs: BigInt(Math.round(health.sinceMs)),
    })),
    backends: backends.map(({ setting, name, kind, region = '' }) => ({
      ...{ setting, name, kind, region },
    })),
  }
}
