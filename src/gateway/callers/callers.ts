export { CallerSide, type CallersReport } from './caller-side.ts'
