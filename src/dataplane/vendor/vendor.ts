export type { GrpcRow, MethodRow } from './grpc-row.ts'
export { type VendorPorts, VendorService } from './vendor-service.ts'
export { embeddedService, type EmbeddedService } from './embedded.ts'
export { vendorMethods } from './vendor-methods.ts'
