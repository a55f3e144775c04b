import { renewOnce } from '../../agent/renew-once.ts'
import type { Renewed } from '../../agent/control/control.ts'
import { PosternError } from '../../base/errors.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { KEY_KINDS } from '../../identity/keys.ts'
import { askAgent, socketPath } from '../place/place.ts'
import {
  humanSpan,
  type ArgumentsOf,
  type Surroundings,
  settingsOf,
  command,
  JSON_OPTION,
  type OptionTable,
} from '../program/program.ts'
import { withPassphrase, withProxy } from '../daemon/daemon.ts'

const RENEW_MS_MAX = 60_000

type RenewArguments = ArgumentsOf<typeof RENEW_OPTIONS>

const RENEW_OPTIONS = {
  config: { type: 'string', describe: 'File of the daemon. (POSTERN_CONFIG)' },
  socket: {
    type: 'string',
    describe: 'The socket of the daemon; default: status.socket of the settings.',
  },
  ...JSON_OPTION,
} as const satisfies OptionTable

/** `agent certs renew`: now, and waits for it. */
export const certsRenew = command({
  path: 'renew',
  describe:
    'Renew the certificate now, with a new key, and say what has changed. Works with and without the daemon.',
  options: RENEW_OPTIONS,
  run: (args, surroundings) => renew(args, undefined, surroundings),
})

/** `agent certs rotate-key`: the same, where the key is the point. */
export const certsRotateKey = command({
  path: 'rotate-key',
  describe: 'Change to a new key, of another kind where one is named, with a certificate for it.',
  options: {
    ...RENEW_OPTIONS,
    key: {
      type: 'string',
      choices: KEY_KINDS,
      describe: 'Kind of the new key. Default: as it is.',
    },
  },
  run: (args, surroundings) => renew(args, args.key, surroundings),
})

async function renew(
  args: RenewArguments,
  kind: string | undefined,
  surroundings: Surroundings,
): Promise<number> {
  const renewed = await renewedBy(kind, args, surroundings)
  const { serialBefore, serial, notAfter, key } = renewed
  const facts = { serialBefore, serial, notAfter, key }
  const { clock } = surroundings.ambient('error', 'certs')
  const left = humanSpan(Date.parse(notAfter) - clock.wallMs())
  surroundings.output.result(
    args.json
      ? JSON.stringify(facts, null, 2)
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
  const request = kind === undefined ? {} : { keyKind: kind }
  try {
    return await askAgent(socketPath(args, environment), surroundings, (agent) =>
      agent.renewCertificate(request, { timeoutMs: RENEW_MS_MAX }),
    )
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
