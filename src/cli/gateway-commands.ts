import { GATEWAY_SETTINGS } from '../config/gateway-settings.ts'
import { judgeGatewaySettings } from '../gateway/judge-settings.ts'
import { configCommand } from './config-command.ts'
import { gatewayCall } from './gateway-call.ts'
import { gatewayCa } from './gateway-ca.ts'
import { gatewayCerts } from './gateway-certs.ts'
import { gatewayClusters } from './gateway-clusters.ts'
import { gatewayDrain, gatewayStatus } from './gateway-drain.ts'
import { gatewayEvents } from './gateway-events.ts'
import { gatewayForward } from './gateway-forward.ts'
import { gatewayInit } from './gateway-init.ts'
import { gatewayRun } from './gateway-run.ts'
import { gatewayService } from './service.ts'
import { gatewayStore } from './gateway-store-backup.ts'
import { gatewayTokens } from './gateway-tokens.ts'
import type { AddCommand } from './program.ts'
import { withPassphrase } from './systemd-credentials.ts'

export const GATEWAY_COMMANDS: readonly AddCommand[] = [
  gatewayInit,
  gatewayRun,
  gatewayStatus,
  gatewayDrain,
  gatewayService,
  gatewayTokens,
  gatewayCerts,
  gatewayCa,
  gatewayEvents,
  gatewayStore,
  gatewayCall,
  gatewayForward,
  gatewayClusters,
  configCommand(GATEWAY_SETTINGS, (values, ambient, environment) =>
    judgeGatewaySettings(withPassphrase(values, environment), ambient),
  ),
]
