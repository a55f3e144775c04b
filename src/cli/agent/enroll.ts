import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { egressOf } from '../../config/egress.ts'
import { enroll, type EnrollRequest } from '../../agent/enrolment/enrolment.ts'
import { PosternError } from '../../base/errors.ts'
import { policyOf, regionRule } from '../../agent/guard/guard.ts'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { Generations } from '../../identity/generations.ts'
import { KEY_KINDS } from '../../identity/keys.ts'
import { identityUri } from '../../identity/name.ts'
import { protectionOf } from '../../identity/passphrase.ts'
import {
  type ArgumentsOf,
  humanSpan,
  type Surroundings,
  settingsOf,
  command,
  JSON_OPTION,
  type OptionTable,
} from '../program/program.ts'
import { withProxy, withPassphrase } from '../daemon/daemon.ts'

const PIN = /^sha256:[0-9a-f]{64}$/
const TOKEN_BYTES_MAX = 16 * 1024
const OTHERS_MAY_READ = 0o077
/** Name of the systemd credential that a token may come in (LoadCredential=join-token:...). */
const CREDENTIAL = 'join-token'

const ENROLL_OPTIONS = {
  gateway: {
    type: 'string',
    required: true,
    describe: 'Enrolment address of the gateway: https://host:port.',
  },
  'token-file': {
    type: 'string',
    describe: `File with the join token, - for standard input. Default: the systemd credential ${CREDENTIAL}.`,
  },
  'ca-pin': {
    type: 'strings',
    describe: 'Pins of the roots to trust, sha256:HEX, as gateway init and tokens create print.',
  },
  'ca-bundle': {
    type: 'string',
    describe: 'File with the roots to trust in PEM, in place of a pin.',
  },
  'trust-domain': {
    type: 'string',
    describe: 'Trust domain of gateway and certificate. Default: whichever they name.',
  },
  key: {
    type: 'string',
    choices: KEY_KINDS,
    default: 'p256',
    describe: 'Kind of the key, which is made here and never leaves.',
  },
  force: {
    type: 'boolean',
    default: false,
    describe: 'Enrol anew although there is an identity already.',
  },
  'state-directory': {
    type: 'string',
    describe: `Where to keep it. (POSTERN_STATE_DIRECTORY) Default: ${AGENT_SETTINGS['state.directory'].defaultText}`,
  },
  'passphrase-file': {
    type: 'string',
    describe: 'Encrypt the key on disk. Default: as the settings say (identity.passphraseFile).',
  },
  config: {
    type: 'string',
    describe: 'File of the daemon: its state directory, passphrase and proxy. (POSTERN_CONFIG)',
  },
  ...JSON_OPTION,
} as const satisfies OptionTable

type EnrollArguments = ArgumentsOf<typeof ENROLL_OPTIONS>

/** `agent enroll`: from a join token to a certificate of our own. */
export const agentEnroll = command({
  path: 'enroll',
  describe:
    'Get a certificate for a join token. Safe to repeat: a crash or lost answer costs nothing.',
  options: ENROLL_OPTIONS,
  examples: [
    [
      '$0 enroll --gateway https://gateway.example.com:7445 --token-file token --ca-pin sha256:4f…',
      'Become an agent of the cluster that the token is for.',
    ],
  ],
  run: (args, surroundings) => runEnroll(args, surroundings),
})

async function runEnroll(args: EnrollArguments, surroundings: Surroundings): Promise<number> {
  const { output, environment } = surroundings
  const settings = enrollSettings(args, environment)
  const folder = settings['state.directory']
  const protection = protectionOf(settings)
  const generations = new Generations(folder, protection)
  if (generations.current !== undefined && !args.force) {
    const text = `${folder} holds an identity already; --force enrols anew`
    throw new PosternError('STATE_EXISTS', text, { path: folder })
  }
  const request: EnrollRequest = {
    ...judgedTrust(args),
    gateway: judgedUrl(args.gateway),
    token: await readToken(args['token-file'], surroundings),
    trustDomain: args['trust-domain'],
    keyKind: args.key,
    egress: egressOf(settings),
    refuse: regionRule(policyOf(settings)),
    onStep: (text) => {
      output.note(`${text} ...`)
    },
  }
  const { clock } = surroundings.ambient('error', 'enroll')
  const { identity, notAfterMs } = await enroll(request, generations, () => clock.wallMs())
  const [uri, notAfter] = [identityUri(identity), new Date(notAfterMs).toISOString()]
  output.result(
    args.json
      ? JSON.stringify({ identity: uri, notAfter, stateDirectory: folder }, null, 2)
      : `enrolled as ${uri}\nvalid until ${notAfter} (${humanSpan(notAfterMs - clock.wallMs())})\nkept in ${folder}`,
  )
  return 0
}

/** What the daemon's settings say of where and how the identity is kept, and of the way to the gateway. */
function enrollSettings(
  args: EnrollArguments,
  environment: Readonly<Record<string, string | undefined>>,
) {
  const config = args.config ?? environment.POSTERN_CONFIG
  const rows = {
    'state.directory': AGENT_SETTINGS['state.directory'],
    'identity.passphraseFile': AGENT_SETTINGS['identity.passphraseFile'],
    'identity.passphraseCommand': AGENT_SETTINGS['identity.passphraseCommand'],
    'gateway.proxy': AGENT_SETTINGS['gateway.proxy'],
    'gateway.proxyPasswordFile': AGENT_SETTINGS['gateway.proxyPasswordFile'],
    'gateway.noProxy': AGENT_SETTINGS['gateway.noProxy'],
    'policy.file': AGENT_SETTINGS['policy.file'],
    allow: AGENT_SETTINGS.allow,
  }
  const flags = {
    'state-directory': args['state-directory'],
    'identity-passphrase-file': args['passphrase-file'],
    config,
  }
  const { values } =
    config === undefined
      ? settingsOf(rows, flags, environment)
      : settingsOf(AGENT_SETTINGS, flags, environment)
  return withProxy(withPassphrase(values, environment), environment)
}

/** @throws USAGE, FILE_UNREADABLE */
function judgedTrust(args: EnrollArguments): Pick<EnrollRequest, 'pins' | 'bundlePem'> {
  const { 'ca-pin': pins, 'ca-bundle': bundleFile } = args
  const wrong = pins.find((pin) => !PIN.test(pin))
  if (wrong !== undefined)
    throw new PosternError(
      'USAGE',
      `--ca-pin ${JSON.stringify(wrong)} is not sha256: and 64 hex digits`,
    )
  if (pins.length > 0 === (bundleFile !== undefined)) {
    throw new PosternError(
      'USAGE',
      'give --ca-pin or --ca-bundle: without one, nobody could tell the gateway from an impostor',
    )
  }
  return { pins, bundlePem: bundleFile === undefined ? undefined : readFile(bundleFile) }
}

/** @throws USAGE */
function judgedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'https:' && url.username === '' && ['', '/'].includes(url.pathname))
    return url
  throw new PosternError('USAGE', `--gateway ${JSON.stringify(text)} is not https://host:port`)
}

/** Never from argv, where every user of the machine could read it. @throws USAGE, FILE_UNREADABLE */
async function readToken(path: string | undefined, surroundings: Surroundings): Promise<string> {
  const { environment, output } = surroundings
  const credentials = environment.CREDENTIALS_DIRECTORY
  const source = path ?? (credentials === undefined ? undefined : join(credentials, CREDENTIAL))
  if (source === undefined)
    throw new PosternError('USAGE', '--token-file is missing, and there is no systemd credential')
  const text = source === '-' ? await surroundings.readStdin() : readFile(source)
  const token = text.trim()
  if (token === '' || token.length > TOKEN_BYTES_MAX || /\s/.test(token))
    throw new PosternError('USAGE', `${source} does not hold one token`)
  if (source !== '-' && (statSync(source).mode & OTHERS_MAY_READ) !== 0)
    output.note(`warning: other users may read ${source}; remove it when this is done`)
  return token
}

/** @throws FILE_UNREADABLE */
function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('FILE_UNREADABLE', text, { path }, { cause: error })
  }
}
