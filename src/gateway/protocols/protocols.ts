export type { ApiCall, JsonCodec } from './api-call.ts'
export { clusterOf, type Route, routeOf } from './route.ts'
