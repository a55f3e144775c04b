import { connectGateway } from '../caller/connect.ts'
import type { GatewayClient } from '../caller/gateway-client.ts'
import { CALLER_SETTINGS } from '../config/gateway-settings.ts'
import type { Surroundings } from './program.ts'
import { settingsOf, type SettingsArguments } from './settings-options.ts'

/** Connects as the settings of a command say, uses the connection, and closes it. */
export async function withGateway(
  args: SettingsArguments,
  surroundings: Surroundings,
  use: (gateway: GatewayClient) => Promise<number>,
): Promise<number> {
  const { values } = settingsOf(CALLER_SETTINGS, args, surroundings.environment)
  const serverName = values['gateway.serverName']
  const gateway = await connectGateway({
    address: values['gateway.address'],
    ...(serverName === undefined ? {} : { serverName }),
    trustDomain: values.trustDomain,
    files: {
      certificateFile: values['identity.certificateFile'],
      keyFile: values['identity.keyFile'],
      bundleFile: values['identity.bundleFile'],
    },
    settings: values,
  })
  try {
    return await use(gateway)
  } finally {
    gateway.close()
  }
}
