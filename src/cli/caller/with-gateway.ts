import { dialGateway, type DialOptions } from '../../caller/connect.ts'
import type { GatewayClient } from '../../caller/gateway-client.ts'
import { connectPool, type GatewayPool } from '../../caller/gateway-pool.ts'
import { CALLER_SETTINGS, type CallerSettings } from '../../config/gateway-settings.ts'
import { finishRenewal } from './renewal.ts'
import { type Surroundings, settingsOf, type SettingsArguments } from '../program/program.ts'

/** Connects as the settings of a command say, uses the connection, and closes it. */
export async function withGateway(
  args: SettingsArguments,
  surroundings: Surroundings,
  use: (gateway: GatewayClient) => Promise<number>,
): Promise<number> {
  const settings = callerSettings(args, surroundings)
  const gateway = await dialGateway({
    ...connectOptions(settings, surroundings),
    address: settings['gateway.address'],
  })
  try {
    return await use(gateway)
  } finally {
    gateway.close()
  }
}

/** Connects to all gateways that the settings name, and keeps doing so while they are used. */
export async function withGateways(
  settings: CallerSettings,
  surroundings: Surroundings,
  use: (gateways: GatewayPool) => Promise<number>,
): Promise<number> {
  const gateways = await connectPool({
    ...connectOptions(settings, surroundings),
    addresses: [settings['gateway.address'], ...settings['gateway.addresses']],
  })
  try {
    return await use(gateways)
  } finally {
    gateways.close()
  }
}

/** Reads the settings of a command that calls through a gateway. */
export function callerSettings(
  args: SettingsArguments,
  { environment }: Surroundings,
): CallerSettings {
  return settingsOf(CALLER_SETTINGS, args, environment).values
}

function connectOptions(
  settings: CallerSettings,
  surroundings: Surroundings,
): Omit<DialOptions, 'address'> {
  const serverName = settings['gateway.serverName']
  const files = {
    certificateFile: settings['identity.certificateFile'],
    keyFile: settings['identity.keyFile'],
    bundleFile: settings['identity.bundleFile'],
  }
  const { clock, random } = surroundings.ambient('error', 'gateway')
  finishRenewal(files, clock.wallMs())
  return {
    ...(serverName === undefined ? {} : { serverName }),
    trustDomain: settings.trustDomain,
    credentials: files,
    settings,
    clock,
    random,
  }
}
