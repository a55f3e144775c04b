import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import { judgeGatewaySettings } from '../../gateway/judge-settings.ts'
import { configCommand, type Command, type CommandGroup } from '../program/program.ts'
import { gatewayCall, gatewayForward, gatewayProxy, gatewaySeal } from '../caller/caller.ts'
import { gatewayCa } from './ca.ts'
import { gatewayCerts } from './certs.ts'
import { gatewayClusters } from './clusters.ts'
import { gatewayDrain, gatewayStatus } from './drain.ts'
import { gatewayEvents } from './events.ts'
import { gatewayInit } from './init.ts'
import { gatewayRun } from './run.ts'
import { gatewayPosture } from '../posture/posture.ts'
import { gatewayService } from '../service/service.ts'
import { gatewayStore } from './store-backup.ts'
import { gatewayRoles, gatewayTokens } from '../gateway-access/gateway-access.ts'
import { withPassphrase } from '../daemon/daemon.ts'

/** The commands of gateway, in the order of its help. */
export const GATEWAY_COMMANDS: readonly (Command | CommandGroup)[] = [
  gatewayInit,
  gatewayRun,
  gatewayStatus,
  gatewayDrain,
  gatewayPosture,
  gatewayService,
  gatewayTokens,
  gatewayRoles,
  gatewayCerts,
  gatewayCa,
  gatewayEvents,
  gatewayStore,
  gatewayCall,
  gatewayForward,
  gatewayProxy,
  gatewaySeal,
  gatewayClusters,
  configCommand(GATEWAY_SETTINGS, (values, ambient, environment) =>
    judgeGatewaySettings(withPassphrase(values, environment), ambient),
  ),
]
