export { gatewayMetrics } from './metrics.ts'
export { GatewayControl, type GatewayStatus } from './orders.ts'
export type { GatewayRooms } from './rooms.ts'
