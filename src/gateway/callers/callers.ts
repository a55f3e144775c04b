export { CallerSide } from './caller-side.ts'
