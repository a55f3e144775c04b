import { GATEWAY_SETTINGS } from '../config/gateway-settings.ts'
import { Gateway } from '../gateway/gateway.ts'
import { gatewayMetrics } from '../gateway/metrics.ts'
import { MonitorListener } from '../transport/monitor-listen.ts'
import { configCommand } from './config-command.ts'
import { untilSignal } from './daemon.ts'
import { gatewayCall } from './gateway-call.ts'
import { gatewayCa } from './gateway-ca.ts'
import { gatewayCerts } from './gateway-certs.ts'
import { gatewayClusters } from './gateway-clusters.ts'
import { gatewayEvents } from './gateway-events.ts'
import { gatewayForward } from './gateway-forward.ts'
import { gatewayInit } from './gateway-init.ts'
import { gatewayTokens } from './gateway-tokens.ts'
import type { AddCommand } from './program.ts'
import { withPassphrase } from './systemd-credentials.ts'
import { addSettings, settingsOf } from './settings-options.ts'
import { SystemdNotify, type DaemonState } from './systemd-notify.ts'

const run: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'run',
    'Run the daemon: take tunnels from agents and calls from services, until SIGTERM. SIGHUP reads the identity anew.',
    (y) => addSettings(y, GATEWAY_SETTINGS),
    (args) => {
      const start = async (): Promise<number> => {
        const { values } = settingsOf(GATEWAY_SETTINGS, args, surroundings.environment)
        const ambient = surroundings.ambient(values['log.level'], 'gateway')
        const settings = withPassphrase(values, surroundings.environment)
        const gateway = new Gateway(settings, ambient)
        const systemd = new SystemdNotify({
          environment: surroundings.environment,
          clock: ambient.clock,
          logger: ambient.logger,
          state: () => gatewayState(gateway),
          startMs: 0,
        })
        await gateway.start()
        systemd.start()
        const at = settings['metrics.listen']
        const monitor =
          at === undefined
            ? undefined
            : new MonitorListener(at, {
                metrics: gatewayMetrics(gateway, ambient.clock),
                state: () => gatewayState(gateway),
              })
        try {
          await monitor?.listen()
          return await untilSignal(gateway, ambient.logger, surroundings, systemd)
        } finally {
          monitor?.close()
          gateway.stop()
        }
      }
      done(start())
    },
  )

function gatewayState({ isDraining, registry }: Gateway): DaemonState {
  const tunnels = `${String(registry.tunnelCount)} tunnels of ${String(registry.clusters.size)} clusters`
  return {
    isReady: !isDraining,
    isAlive: true,
    text: isDraining ? `draining; ${tunnels}` : tunnels,
  }
}

export const GATEWAY_COMMANDS: readonly AddCommand[] = [
  gatewayInit,
  run,
  gatewayTokens,
  gatewayCerts,
  gatewayCa,
  gatewayEvents,
  gatewayCall,
  gatewayForward,
  gatewayClusters,
  configCommand(
    GATEWAY_SETTINGS,
    (values, ambient, environment) => new Gateway(withPassphrase(values, environment), ambient),
  ),
]
