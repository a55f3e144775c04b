import { addressText } from '../../base/address.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'

/** What agents are told of gateways: nothing, unless the settings say how agents dial this one, or others. */
export function placesToTell(
  { 'agents.address': own, zone = '', peers }: GatewaySettings,
  gateway: string,
): { gateway: string; zone: string; address: string }[] {
  const here = own === undefined ? [] : [{ gateway, zone, address: own }]
  return [...here, ...peers].map((one) => ({ ...one, address: addressText(one.address) }))
}
