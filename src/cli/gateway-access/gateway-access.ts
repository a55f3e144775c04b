export { gatewayRoles } from './roles.ts'
export { STORE_SETTINGS, withStore } from './store.ts'
export { gatewayTokens } from './tokens.ts'
