import { GATEWAY_SETTINGS } from '../config/gateway-settings.ts'
import { Gateway } from '../gateway/gateway.ts'
import { configCommand } from './config-command.ts'
import { untilSignal } from './daemon.ts'
import { gatewayCall } from './gateway-call.ts'
import { gatewayClusters } from './gateway-clusters.ts'
import { gatewayForward } from './gateway-forward.ts'
import { gatewayInit } from './gateway-init.ts'
import { gatewayTokens } from './gateway-tokens.ts'
import type { AddCommand } from './program.ts'
import { addSettings, settingsOf } from './settings-options.ts'

const run: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'run',
    'Run the daemon: take tunnels from agents and calls from services, until SIGTERM.',
    (y) => addSettings(y, GATEWAY_SETTINGS),
    (args) => {
      const start = async (): Promise<number> => {
        const { values } = settingsOf(GATEWAY_SETTINGS, args, surroundings.environment)
        const ambient = surroundings.ambient(values['log.level'], 'gateway')
        const gateway = new Gateway(values, ambient)
        await gateway.start()
        return await untilSignal(gateway, ambient.logger, surroundings)
      }
      done(start())
    },
  )

export const GATEWAY_COMMANDS: readonly AddCommand[] = [
  gatewayInit,
  run,
  gatewayTokens,
  gatewayCall,
  gatewayForward,
  gatewayClusters,
  configCommand(GATEWAY_SETTINGS, (values, ambient) => new Gateway(values, ambient)),
]
