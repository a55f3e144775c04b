import { GATEWAY_SETTINGS, type GatewaySettings } from '../../config/gateway-settings.ts'
import type { Clock } from '../../base/clock.ts'
import { Gateway } from '../../gateway/gateway.ts'
import { adminOffers } from '../../gateway/control/control.ts'
import { postureOffers } from '../../gateway/posture/posture.ts'
import { LocalServer } from '../../tunnel/local-rpc.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import {
  untilSignal,
  type Orders,
  withPassphrase,
  tracerOf,
  SystemdNotify,
  type DaemonState,
} from '../daemon/daemon.ts'
import { GATEWAY_SOCKET } from './drain.ts'
import { type Surroundings, settingsOf, command } from '../program/program.ts'

/** `gateway run`: the daemon. */
export const gatewayRun = command({
  path: 'run',
  describe:
    'Run the daemon: take tunnels from agents and calls from services, until SIGTERM. SIGHUP reads the identity, the peers, trustedProxies, callers.roles and the log level anew.',
  settings: { table: GATEWAY_SETTINGS },
  options: {},
  run: async (args, surroundings) => {
    const { environment } = surroundings
    const read = (): GatewaySettings =>
      withPassphrase(settingsOf(GATEWAY_SETTINGS, args, environment).values, environment)
    return await runGateway(read, surroundings)
  },
})

async function runGateway(
  read: () => GatewaySettings,
  surroundings: Surroundings,
): Promise<number> {
  const settings = read()
  const tracer = await tracerOf(settings, 'postern-gateway')
  const ambient = { ...surroundings.ambient(settings['log.level'], 'gateway'), tracer }
  const { clock, logger } = ambient
  const gateway = await Gateway.open(settings, ambient)
  const systemd = new SystemdNotify({
    environment: surroundings.environment,
    clock,
    logger,
    state: () => gatewayState(gateway),
    startMs: 0,
  })
  await gateway.start()
  systemd.start()
  const orders: Orders = { drain: () => undefined }
  const closings: (() => void)[] = []
  try {
    closings.push(await listenForOrders(settings, gateway, orders, ambient))
    closings.push(await listenForMonitoring(settings, gateway, clock))
    const daemon = {
      drain: () => gateway.drain(),
      stop: () => {
        gateway.stop()
      },
      reload: () => {
        const next = read()
        gateway.reload(next)
        logger.setLevel?.(next['log.level'])
      },
    }
    return await untilSignal(daemon, logger, surroundings, systemd, orders)
  } finally {
    for (const close of closings) close()
    gateway.stop()
    await tracer?.close()
  }
}

/** Opens what `metrics.listen` and `health.listen` name. */
async function listenForMonitoring(
  settings: GatewaySettings,
  gateway: Gateway,
  clock: Clock,
): Promise<() => void> {
  const monitors: { close(): void }[] = []
  for (const setting of ['metrics.listen', 'health.listen'] as const) {
    const at = settings[setting]
    if (at === undefined) continue
    // Read where somebody wants them, as the agent does: the library and node:http are large.
    const { MonitorListener } = await import('../../transport/monitor-listen.ts')
    const told =
      setting === 'health.listen'
        ? {}
        : {
            metrics: (await import('../../gateway/control/metrics.ts')).gatewayMetrics(
              gateway,
              clock,
            ),
          }
    const state = (): DaemonState => gatewayState(gateway)
    const monitor = new MonitorListener(at, { ...told, setting, state })
    await monitor.listen()
    monitors.push(monitor)
  }
  return () => {
    for (const monitor of monitors) monitor.close()
  }
}

/** Where no socket is named, one at the usual place is a convenience, and its lack no fault. */
async function listenForOrders(
  { 'status.socket': named }: GatewaySettings,
  gateway: Gateway,
  orders: Orders,
  ambient: Ambient,
): Promise<() => void> {
  const local = new LocalServer(named ?? GATEWAY_SOCKET, ambient)
  const drain = (): void => {
    orders.drain()
  }
  for (const offer of adminOffers({ gateway, clock: ambient.clock, drain }))
    local.server.offer(offer)
  const { region } = gateway.own.credential.identity
  for (const offer of postureOffers({ settings: () => gateway.settings, region }))
    local.server.offer(offer)
  try {
    await local.listen()
  } catch (error) {
    if (named !== undefined) throw error
    const reason = error instanceof Error ? error.message : String(error)
    ambient.logger.info({ reason }, 'gateway status and drain have no socket: set status.socket')
  }
  return () => {
    local.close()
  }
}

function gatewayState({ isDraining, registry }: Gateway): DaemonState {
  const tunnels = `${String(registry.tunnelCount)} tunnels of ${String(registry.clusters.size)} clusters`
  return {
    isReady: !isDraining,
    isAlive: true,
    text: isDraining ? `draining; ${tunnels}` : tunnels,
  }
}
