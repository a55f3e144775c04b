import type { Action, DispatchRequest, Task } from '../../gen/postern/dataplane/v1/tasks_pb.js'
import { actionFault, runName } from '../../contract/run-event.ts'
import { rpcErrorOfCode } from '../../rpc/status.ts'
import type { ExecutorRow } from '../executor-row.ts'
import { holdsImage, readImage } from './image.ts'

const WORD = /^[\x20-\x7e]{0,255}$/
const NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/
/** Of RFC 3986, without query, fragment and user. */
const URI = /^(?:s3|gs|abfss?|https|file):\/\/[A-Za-z0-9._~!$&()*+,;=:%/-]{1,2048}$/
const COUNT_MAX = 256
const ARGUMENT_BYTES_MAX = 4096
const UPLOAD = 'postern.dataplane.v1.ObjectStore/CreateUploadUrl'

/** Judges which attempt at which action is meant, and returns its name. @throws RpcError TASK_REFUSED */
export function attemptName(action: Action | undefined, attempt: number): string {
  const fault = actionFault(action, attempt)
  if (action === undefined || fault !== undefined) throw refused(fault ?? 'it names no action')
  return `${runName(action)}/${action.action}/${String(attempt)}`
}

/** Judges a definition by what the customer's row of its executor allows. @throws RpcError TASK_REFUSED */
export function judgeTask({ task }: DispatchRequest, row: ExecutorRow): void {
  if (task === undefined) throw refused('it holds no task')
  if (!WORD.test(task.name) || task.name === '' || !WORD.test(task.version))
    throw refused('name and version are at most 255 printable ASCII characters')
  judgeImage(task.image, row)
  for (const list of [task.command, task.arguments]) judgeArguments(list)
  judgeEnvironment(task, row)
  judgeInputs(task, row)
  if (task.outputUri !== '' && !URI.test(task.outputUri)) throw refused(`output_uri ${URI_FORM}`)
}

function judgeImage(text: string, { images, needsDigest }: ExecutorRow): void {
  const image = readImage(text)
  if (image === undefined) throw refused('the image is no name of one')
  if (!holdsImage(images, image))
    throw refused(
      'the image is of a registry or repository that the settings of the agent do not list',
    )
  if (needsDigest && image.digest === undefined)
    throw refused('the image must be named by its digest (@sha256:...)')
}

function judgeArguments(list: readonly string[]): void {
  if (list.length > COUNT_MAX) throw refused(`over ${String(COUNT_MAX)} words of a command`)
  if (list.some((one) => Buffer.byteLength(one) > ARGUMENT_BYTES_MAX))
    throw refused(`a word of its command has over ${String(ARGUMENT_BYTES_MAX)} bytes`)
}

function judgeEnvironment({ environment, resources }: Task, row: ExecutorRow): void {
  for (const [what, map] of Object.entries({ environment, resources })) {
    const entries = Object.entries(map)
    if (entries.length > COUNT_MAX) throw refused(`${what} has over ${String(COUNT_MAX)} entries`)
    for (const [name, value] of entries) {
      if (!NAME.test(name)) throw refused(`${what} has a name that is none`)
      judgeLiteral(`${what} ${name}`, value, row)
    }
  }
}

function judgeInputs({ inputs }: Task, row: ExecutorRow): void {
  if (inputs.length > COUNT_MAX) throw refused(`it has over ${String(COUNT_MAX)} inputs`)
  const names = new Set(inputs.map(({ name }) => name))
  if (names.size < inputs.length) throw refused('two inputs have one name')
  for (const { name, value } of inputs) {
    if (!NAME.test(name)) throw refused('an input has a name that is none')
    if (value.case === 'literal') judgeLiteral(`input ${name}`, value.value, row)
    else if (value.case !== 'uri' || !URI.test(value.value))
      throw refused(`input ${name} ${URI_FORM}`)
  }
}

const URI_FORM = 'must be a URI of s3, gs, abfs, abfss, https or file, without a query or user'

/** Data does not cross as a definition. */
function judgeLiteral(what: string, value: string, { literalBytesMax }: ExecutorRow): void {
  const bytes = Buffer.byteLength(value)
  if (bytes <= literalBytesMax) return
  throw refused(
    `${what} has ${String(bytes)} bytes in line, over ${String(literalBytesMax)}: put it into a store by ${UPLOAD}, and name its URI`,
  )
}

function refused(why: string): Error {
  return rpcErrorOfCode('TASK_REFUSED', `the task: ${why}`)
}
