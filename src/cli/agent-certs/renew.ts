import type { Argv } from 'yargs'
import { renewOnce } from '../../agent/renew-once.ts'
import type { Renewed } from '../../agent/control/control.ts'
import { parseAnswer } from '../../base/local-answer.ts'
import { PosternError } from '../../base/errors.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { KEY_KINDS } from '../../identity/keys.ts'
import { askLocal } from '../../transport/local-socket.ts'
import { socketPath } from '../place/place.ts'
import { humanSpan, type AddCommand, type Surroundings, settingsOf } from '../program/program.ts'
import { withPassphrase, withProxy } from '../daemon/daemon.ts'

const RENEW_MS_MAX = 60_000

interface RenewArguments {
  readonly config: string | undefined
  readonly socket: string | undefined
  readonly json: boolean
}

/** `agent certs renew`: now, and waits for it. */
export const certsRenew: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'renew',
    'Renew the certificate now, with a new key, and say what has changed. Works with and without the daemon.',
    renewOptions,
    (args) => {
      done(renew(args, undefined, surroundings))
    },
  )

/** `agent certs rotate-key`: the same, where the key is the point. */
export const certsRotateKey: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'rotate-key',
    'Change to a new key, of another kind where one is named, with a certificate for it.',
    (y) =>
      renewOptions(y).option('key', {
        choices: KEY_KINDS,
        requiresArg: true,
        describe: 'Kind of the new key. Default: as it is.',
      }),
    (args) => {
      done(renew(args, args.key, surroundings))
    },
  )

function renewOptions(y: Argv) {
  return y
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: 'File of the daemon. (POSTERN_CONFIG)',
    })
    .option('socket', {
      type: 'string',
      requiresArg: true,
      describe: 'The socket of the daemon; default: status.socket of the settings.',
    })
    .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object.' })
}

async function renew(
  args: RenewArguments,
  kind: string | undefined,
  surroundings: Surroundings,
): Promise<number> {
  const renewed = await renewedBy(kind, args, surroundings)
  const { serialBefore, serial, notAfter, key } = renewed
  const { clock } = surroundings.ambient('error', 'certs')
  const left = humanSpan(Date.parse(notAfter) - clock.wallMs())
  surroundings.output.result(
    args.json
      ? JSON.stringify(renewed, null, 2)
      : `renewed\nserial  ${serialBefore} -> ${serial}\nkey     ${key}, new\nvalid   until ${notAfter} (${left})`,
  )
  return 0
}

/** The daemon does it; where none runs we do, over EST or by recovery. */
async function renewedBy(
  kind: string | undefined,
  args: RenewArguments,
  surroundings: Surroundings,
): Promise<Renewed> {
  const { environment, output } = surroundings
  const line = kind === undefined ? 'renew' : `renew ${kind}`
  try {
    return parseAnswer(await askLocal(socketPath(args, environment), line, RENEW_MS_MAX)) as Renewed
  } catch (error) {
    const config = args.config ?? environment.POSTERN_CONFIG
    if (!(error instanceof PosternError) || error.code !== 'DAEMON_NOT_RUNNING') throw error
    if (args.socket !== undefined || config === undefined) throw error
    output.note(`${error.rawMessage}: renewing without it`)
    const { values } = settingsOf(AGENT_SETTINGS, { config }, environment)
    const settings = withProxy(withPassphrase(values, environment), environment)
    return await renewOnce(settings, surroundings.ambient('error', 'certs'), kind)
  }
}
