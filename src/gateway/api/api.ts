export { type ApiReport, ApiSide } from './api-side.ts'
export { judgeApiSettings } from './server-certificate.ts'
