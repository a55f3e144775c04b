export { GATEWAY_COMMANDS } from './commands.ts'
