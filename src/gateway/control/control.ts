export { adminOffers, type AdminPorts } from './admin-service.ts'
export type { GatewayReport, GatewayRooms } from './report.ts'
export { gatewayStatus } from './status.ts'
