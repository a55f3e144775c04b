export { agentCerts } from './certs.ts'
export { stepText } from './check.ts'
