export { adminOffers, type AdminPorts } from './admin-service.ts'
export { gatewayMetrics } from './metrics.ts'
export type { GatewayRooms } from './rooms.ts'
export { gatewayStatus } from './status.ts'
