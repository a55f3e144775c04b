import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import { addressText } from '../../base/address.ts'
import { duration } from '../../config/setting.ts'
import { gatewayFiles } from '../../gateway/ca/ca.ts'
import {
  certificateRecords,
  type CertificateRecord,
  issueCaller,
  judgeCaller,
  revoke,
  type Revoked,
  type StoreTools,
} from '../../gateway/operations/operations.ts'
import { readCertificateFile } from '../../identity/certificate-files.ts'
import { KEY_KINDS } from '../../identity/keys.ts'
import { FOR_ALL, FOR_OWNER, makeFolder, writeState } from '../../identity/state-files.ts'
import { STORE_SETTINGS, withStore } from '../gateway-access/gateway-access.ts'
import {
  humanSpan,
  table,
  command,
  group,
  JSON_OPTION,
  type OptionTable,
} from '../program/program.ts'

const TTL = duration('Life of the certificate.', '720h', ['1h', '2160h'])

const list = command({
  path: 'list',
  describe: 'List the certificates that were issued, and their state.',
  settings: STORE_SETTINGS,
  options: {
    cluster: { type: 'string', describe: 'Of one cluster only.' },
    agent: { type: 'string', describe: 'Of one agent only.' },
    all: {
      type: 'boolean',
      default: false,
      describe: 'Those that have expired or been superseded too.',
    },
    json: { type: 'boolean', default: false, describe: 'Print a JSON array.' },
  },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, { nowMs }) => {
      const { cluster, agent } = args
      const found = await certificateRecords(tools, { cluster, agent }, args.all, nowMs)
      const json = (): string => JSON.stringify(found.map(describe), null, 2)
      surroundings.output.result(args.json ? json() : listText(found, nowMs))
      return 0
    }),
})

function describe({ serial, issuer, name, state, grant, key, ...times }: CertificateRecord) {
  return {
    ...{ serial, issuer, identity: name, state },
    notBefore: new Date(times.notBeforeMs).toISOString(),
    notAfter: new Date(times.notAfterMs).toISOString(),
    issuedAt: new Date(times.issuedAtMs).toISOString(),
    issuedFor: grant,
    key,
  }
}

function listText(found: readonly CertificateRecord[], nowMs: number): string {
  return table(
    ['SERIAL', 'IDENTITY', 'STATE', 'EXPIRES'],
    found.map(({ serial, name, state, notAfterMs }) => [
      serial,
      name,
      state,
      notAfterMs > nowMs ? `in ${humanSpan(notAfterMs - nowMs)}` : 'over',
    ]),
  )
}

const revokeCommand = command({
  path: 'revoke [serial]',
  describe:
    'Let a certificate, a key, an agent or a whole cluster in no more. Live tunnels are cut within a second.',
  settings: STORE_SETTINGS,
  options: {
    serial: { type: 'string', describe: 'Serial that certs list shows, or the beginning of one.' },
    key: {
      type: 'string',
      describe: 'Every certificate of this key: sha256:HEX of its SubjectPublicKeyInfo.',
    },
    cluster: {
      type: 'string',
      describe: 'All that the agents of a cluster hold; each comes back with a new join token.',
    },
    agent: { type: 'string', describe: 'With --cluster: of this agent only.' },
    reason: {
      type: 'string',
      default: 'no reason given',
      describe: 'For the records, and for whoever is refused.',
    },
  },
  examples: [['$0 certs revoke 4f2a91 --config gateway.yaml --reason "laptop lost"', '']],
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, operator) => {
      surroundings.output.result(revokedText(await revoke(tools, args, operator)))
      return 0
    }),
})

function revokedText({ what, name, holder, renewed }: Revoked): string {
  switch (what) {
    case 'certificate':
      return `revoked: certificate ${name} of ${holder}${renewals(renewed)}`
    case 'key':
      return `revoked: every certificate of key ${name}${renewals(renewed)}`
    case 'holder':
      return `revoked: all that ${name} holds; it comes back with a new join token`
  }
}

function renewals(count: number): string {
  return count === 0 ? '' : `, and ${String(count)} that were renewed from it`
}

const ISSUE_OPTIONS = {
  caller: {
    type: 'string',
    required: true,
    describe: 'Name of the service, as the policies of clusters know it.',
  },
  region: {
    type: 'string',
    describe:
      'Where the service runs, such as eu-west-1: policies of customers may demand it. Default: the certificate does not say.',
  },
  dir: {
    type: 'string',
    required: true,
    describe: 'Folder for NAME.pem, NAME.key and bundle.pem.',
  },
  ttl: {
    type: 'string',
    default: '720h',
    describe: 'Life of the certificate, 1h to 2160h.',
  },
  key: { type: 'string', choices: KEY_KINDS, default: 'p256', describe: 'Kind of the key.' },
  ...JSON_OPTION,
} as const satisfies OptionTable

const issue = command({
  path: 'issue',
  describe: 'Make a key and a certificate for a control-plane service that calls clusters.',
  settings: STORE_SETTINGS,
  options: ISSUE_OPTIONS,
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, operator) => {
      const { caller, region, dir, key: keyKind } = args
      const request = { caller, region, keyKind, lifetimeMs: lifetimeOf(args.ttl) }
      judgeCaller(caller, region)
      makeFolder(dir)
      const issued = await issueCaller(tools, request, operator)
      writeState(join(dir, `${caller}.key`), issued.keyPem, FOR_OWNER)
      writeState(join(dir, `${caller}.pem`), issued.chainPem, FOR_ALL)
      writeState(join(dir, 'bundle.pem'), issued.bundlePem, FOR_ALL)
      const settingsFile = join(dir, `${caller}.yaml`)
      writeState(settingsFile, callerSettings(caller, tools), FOR_ALL)
      const facts = {
        caller,
        region: region ?? null,
        serial: issued.serial,
        notAfter: new Date(issued.notAfterMs).toISOString(),
        certificateFile: join(dir, `${caller}.pem`),
        keyFile: join(dir, `${caller}.key`),
        bundleFile: join(dir, 'bundle.pem'),
        settingsFile,
      }
      surroundings.output.result(
        args.json
          ? JSON.stringify(facts, null, 2)
          : `caller ${caller}, serial ${facts.serial}, until ${facts.notAfter}\n${facts.certificateFile}\n${facts.keyFile}\n${facts.bundleFile}\n${settingsFile}`,
      )
      surroundings.output.note(`Next: gateway clusters list --config ${settingsFile}`)
      return 0
    }),
})

/** For the commands that call through the gateway. Its paths are beside it, so that the folder can be copied. */
function callerSettings(caller: string, { settings }: StoreTools): string {
  const at = (name: string): string => JSON.stringify(`./${name}`)
  const leaf = readCertificateFile(gatewayFiles(settings).certificateFile).certificates[0]
  const name = leaf?.extensions.names?.find(({ kind }) => kind === 'dns')?.value
  const { host, port } = settings['callers.listen']
  const isLocal = host === '127.0.0.1' || host === '::1' || host === 'localhost'
  const named = settings['callers.address']
  const publicName = typeof name === 'string' && !isLocal ? name : '127.0.0.1'
  const address = named === undefined ? `${publicName}:${String(port)}` : addressText(named)
  const serverName = typeof name === 'string' ? `\n  serverName: ${name}` : ''
  const renewPort = String(settings['enroll.renewListen'].port)
  const renewUrl = typeof name === 'string' ? `\n  renewUrl: https://${name}:${renewPort}` : ''
  return `# Made by gateway certs issue, for gateway call, forward and clusters.
trustDomain: ${settings.trustDomain}
gateway:
  address: ${address}${serverName}
identity:
  certificateFile: ${at(`${caller}.pem`)}
  keyFile: ${at(`${caller}.key`)}
  bundleFile: ${at('bundle.pem')}${renewUrl}
`
}

/** @throws USAGE */
function lifetimeOf(text: string): number {
  try {
    return TTL.parse(text)
  } catch (error) {
    throw new PosternError('USAGE', `--ttl ${(error as Error).message}`)
  }
}

/** `gateway certs`: what was issued, and what of it is let in no more. */
export const gatewayCerts = group({
  path: 'certs',
  describe: 'List, revoke and issue certificates.',
  commands: [list, revokeCommand, issue],
})
