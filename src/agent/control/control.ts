export { LastStatusKeeper, noteStart, readFailedStart, readLastStatus } from './last-status.ts'
export {
  offersBeforeEnrolment,
  operatorOffers,
  type OperatorPorts,
  renewNow,
  type Renewed,
} from './operator-service.ts'
export type { AgentReport } from './report.ts'
export type { AgentRooms } from './rooms.ts'
export { agentStatus } from './status.ts'
