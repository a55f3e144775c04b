import { ERROR_CODES } from '../base/error-codes.ts'
import { GATEWAY_COMMANDS } from './gateway-commands.ts'
import { runProgram } from './program.ts'
import { processSurroundings } from './surroundings.ts'

const EPILOGUE =
  'Exit: 0 done, 1 failed, 64 usage, 66 file, 69 network, 70 fault of ours, 73 exists, 74 not writable, 76 protocol, 77 refused, 78 settings. Errors: docs/ERRORS.md'

// Until the program has said how it ended: one that never does, is at fault.
process.exitCode = ERROR_CODES.INTERNAL.exit
void runProgram(
  'gateway',
  EPILOGUE,
  GATEWAY_COMMANDS,
  process.argv.slice(2),
  processSurroundings,
).then((status) => {
  process.exitCode = status
})
