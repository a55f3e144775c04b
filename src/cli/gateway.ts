import './program/early-signals.ts'
import { ERROR_CODES } from '../base/error-codes.ts'
import { GATEWAY_COMMANDS } from './gateway/gateway.ts'
import { processOutput, runProgram, processSurroundings } from './program/program.ts'

const EPILOGUE =
  'Exit: 0 done, 1 failed, 64 usage, 66 file, 69 network, 70 fault of ours, 73 exists, 74 not writable, 76 protocol, 77 refused, 78 settings. Errors: docs/ERRORS.md'

// A command that waits for what never comes runs out of work: that is no end, and is said.
process.exitCode = ERROR_CODES.INTERNAL.exit
const onIdle = (): void => {
  processOutput.note('gateway: [INTERNAL] the command ended without a result: report it')
}
process.once('beforeExit', onIdle)
void runProgram(
  'gateway',
  EPILOGUE,
  GATEWAY_COMMANDS,
  process.argv.slice(2),
  processSurroundings,
).then((status) => {
  process.off('beforeExit', onIdle)
  process.exitCode = status
})
