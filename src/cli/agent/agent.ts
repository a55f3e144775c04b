export { AGENT_COMMANDS } from './commands.ts'
