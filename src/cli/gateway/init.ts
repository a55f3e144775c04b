import { PosternError } from '../../base/errors.ts'
import { initGateway } from '../../gateway/ca/ca.ts'
import { KEY_KINDS } from '../../identity/keys.ts'
import { isLabel } from '../../identity/name.ts'
import { readProtection } from '../../identity/passphrase.ts'
import { isHostName } from '../../identity/validation/validation.ts'
import { command, JSON_OPTION, type OptionTable } from '../program/program.ts'

const INIT_OPTIONS = {
  dir: {
    type: 'string',
    required: true,
    describe: 'Folder to make it all in; must be empty or missing.',
  },
  'trust-domain': {
    type: 'string',
    required: true,
    describe: 'Domain name that every identity belongs to.',
  },
  dns: {
    type: 'strings',
    required: true,
    describe: 'DNS names that agents and callers dial.',
  },
  region: {
    type: 'string',
    default: 'default',
    describe: 'Region in the identity of the gateway.',
  },
  name: {
    type: 'string',
    default: 'gw-1',
    describe: 'Name in the identity of the gateway.',
  },
  key: { type: 'string', choices: KEY_KINDS, default: 'p256', describe: 'Kind of the keys.' },
  'passphrase-file': {
    type: 'string',
    describe:
      'Encrypt the keys that stay here; the daemon reads the passphrase from this file too.',
  },
  'root-passphrase-file': {
    type: 'string',
    describe: 'Encrypt the key of the root.',
  },
  ...JSON_OPTION,
} as const satisfies OptionTable

/** `gateway init`: the certificate authorities, the gateway's certificate, and its settings. */
export const gatewayInit = command({
  path: 'init',
  describe:
    'Make the certificate authorities, a certificate for the gateway, and its settings file.',
  options: INIT_OPTIONS,
  examples: [
    [
      '$0 init --dir /etc/postern --trust-domain example.com --dns gateway.example.com',
      'Start a control plane.',
    ],
  ],
  run: async (args, surroundings) => {
    const { output } = surroundings

    judge(args)
    const { clock } = surroundings.ambient('error', 'gateway')
    const result = await initGateway(
      {
        folder: args.dir,
        trustDomain: args['trust-domain'],
        region: args.region,
        gateway: args.name,
        dnsNames: args.dns,
        keyKind: args.key,
        protection: readProtection({ file: args['passphrase-file'], command: [] }),
        rootProtection: readProtection({ file: args['root-passphrase-file'], command: [] }),
        passphraseFile: args['passphrase-file'],
      },
      clock.wallMs(),
    )
    const { pin, configFile, rootFolder } = result
    const [rootNotAfter, issuingNotAfter] = [result.rootNotAfter, result.issuingNotAfter].map(
      (date) => date.toISOString(),
    )
    output.result(
      args.json
        ? JSON.stringify({ pin, configFile, rootFolder, rootNotAfter, issuingNotAfter }, null, 2)
        : [
            `CA pin    ${pin}`,
            `settings  ${configFile}`,
            `root      until ${rootNotAfter ?? ''}; issuing CAs until ${issuingNotAfter ?? ''}`,
          ].join('\n'),
    )
    output.note(
      `Take ${rootFolder} off this machine now, to two places that are offline: whoever holds its key\n` +
        'can make any agent and any gateway. It is needed again only to replace an issuing CA.\n' +
        `Next: gateway run --config ${configFile}\n` +
        `      gateway tokens create --config ${configFile} --cluster NAME`,
    )
    return 0
  },
})

const DOMAIN_MAX = 64

/** @throws USAGE */
function judge(args: {
  readonly 'trust-domain': string
  readonly dns: readonly string[]
  readonly region: string
  readonly name: string
}): void {
  const wrong = (text: string): PosternError => new PosternError('USAGE', text)
  const domain = args['trust-domain']
  if (!isHostName(domain) || domain !== domain.toLowerCase() || domain.length > DOMAIN_MAX)
    throw wrong(`--trust-domain ${JSON.stringify(domain)} is no domain name in lower case`)
  for (const name of args.dns)
    if (!isHostName(name)) throw wrong(`--dns ${JSON.stringify(name)} is no DNS name`)
  for (const option of ['region', 'name'] as const)
    if (!isLabel(args[option]))
      throw wrong(`--${option} must be 1 to 63 of a-z, 0-9 and inner hyphens`)
}
