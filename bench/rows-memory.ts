import { join } from 'node:path'
import { BuiltAgent } from './built-agent.ts'
import { sleep } from './measure.ts'
import { TRUST_DOMAIN, type Rig } from './rig.ts'
import { boundRow, type Pace, type Row } from './row.ts'

const KIB = 1024
const MB = 1e6
/** Identities that share the idle tunnels. */
const AGENTS = 20

/** idle-tunnel and agent-rss. */
export async function memoryRows(rig: Rig, pace: Pace): Promise<Row[]> {
  const { gateway, agent, ports } = await rig.tunnel()
  await agent.stop()
  const built = await BuiltAgent.start(rig.folder, {
    ...rig.flags('agent'),
    'gateway.address': `localhost:${String(ports.agents)}`,
    'status.socket': join(rig.folder, 'agent.sock'),
    'state.directory': join(rig.folder, 'state'),
  })
  const rss = built.residentBytes()
  built.stop()
  const rows = [
    boundRow({
      id: 'agent-rss',
      what: 'resident memory of an idle agent, as built and started from its package',
      value: rss / MB,
      unit: 'MB',
      under: 90,
    }),
  ]
  const holder = await rig.worker('idle-agents')
  const agents = await rig.moreAgents(AGENTS)
  const dial = (count: number): Promise<void> =>
    holder.call('hold', {
      port: ports.agents,
      count,
      agents: agents.map((files) => ({ ...files })),
      trustDomain: TRUST_DOMAIN,
    })
  // What the first hundred handshakes cost once (compiled code, grown heap) belongs to no tunnel.
  await dial(100)
  const before = await gateway.call<{ rss: number; tunnels: number }>('memory')
  await dial(pace.idleTunnels)
  await sleep(500)
  const after = await gateway.call<{ rss: number; tunnels: number }>('memory')
  const held = after.tunnels - before.tunnels
  if (held !== pace.idleTunnels)
    throw new Error(`only ${String(held)} of ${String(pace.idleTunnels)} tunnels are held`)
  rows.unshift(
    boundRow({
      id: 'idle-tunnel',
      what: `resident memory per idle tunnel on the gateway, ${String(held)} held`,
      value: (after.rss - before.rss) / held / KIB,
      unit: 'KiB',
      under: 100,
    }),
  )
  await rig.stopAll()
  return rows
}
