import { join } from 'node:path'
import type { Argv } from 'yargs'
import { PosternError } from '../../base/errors.ts'
import { addressText } from '../../base/address.ts'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import { duration } from '../../config/setting.ts'
import {
  certificateOfSerial,
  listCertificates,
  type ListedCertificate,
  issuerOf,
  gatewayFiles,
} from '../../gateway/ca/ca.ts'
import { credentialsOfRow, type Denials, revokeWithRenewals } from '../../gateway/access/access.ts'
import { readCertificateFile } from '../../identity/certificate-files.ts'
import { makeSigningRequest, readSigningRequest } from '../../identity/csr.ts'
import { KEY_KINDS, makeKey, privatePem } from '../../identity/keys.ts'
import { isLabel } from '../../identity/name.ts'
import { pemText } from '../../identity/pem.ts'
import { FOR_ALL, FOR_OWNER, makeFolder, writeState } from '../../identity/state-files.ts'
import { readCertificate } from '../../identity/validation/validation.ts'
import { withStore, type StoreTools } from './store.ts'
import {
  humanSpan,
  table,
  type AddCommand,
  type Surroundings,
  addStoreSettings,
} from '../program/program.ts'

const TTL = duration('Life of the certificate.', '720h', ['1h', '2160h'])
const SERIAL = /^[0-9a-f]{6,40}$/
const PIN = /^sha256:[0-9a-f]{64}$/

/** `gateway certs`: what was issued, and what of it is let in no more. */
export const gatewayCerts: AddCommand = (yargs, surroundings, done) =>
  yargs.command('certs', 'List, revoke and issue certificates.', (y) =>
    [list, revoke, issue]
      .reduce((group, add) => add(group, surroundings, done), y)
      .demandCommand(1, 'Name one of: list, revoke, issue.'),
  )

const list: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'list',
    'List the certificates that were issued, and their state.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS)
        .option('cluster', { type: 'string', requiresArg: true, describe: 'Of one cluster only.' })
        .option('agent', { type: 'string', requiresArg: true, describe: 'Of one agent only.' })
        .option('all', {
          type: 'boolean',
          default: false,
          describe: 'Those that have expired or been superseded too.',
        })
        .option('json', { type: 'boolean', default: false, describe: 'Print a JSON array.' }),
    (args) => {
      const run = withStore(args, surroundings, async ({ records, denials, nowMs }) => {
        const filter = {
          cluster: args.cluster,
          agent: args.agent,
          ...(args.all ? {} : { liveAtMs: nowMs }),
        }
        const rows = await listCertificates(filter, records.database)
        surroundings.output.result(
          args.json
            ? JSON.stringify(
                rows.map((row) => describe(row, denials, nowMs)),
                null,
                2,
              )
            : listText(rows, denials, nowMs),
        )
        return 0
      })
      done(run)
    },
  )

function describe(row: ListedCertificate, denials: Denials, nowMs: number) {
  const { serial, issuer, spki, grant } = row
  return {
    serial,
    issuer,
    identity: nameOf(row),
    state: stateOf(row, denials, nowMs),
    notBefore: new Date(row.not_before).toISOString(),
    notAfter: new Date(row.not_after).toISOString(),
    issuedAt: new Date(row.issued_at).toISOString(),
    issuedFor: grant,
    key: spki,
  }
}

function nameOf({ cluster, agent, identity }: ListedCertificate): string {
  return cluster === '' ? identity.replace(/^spiffe:\/\/[^/]+\//, '') : `${cluster}/${agent}`
}

function stateOf(row: ListedCertificate, denials: Denials, nowMs: number): string {
  const denial = denials.judge(credentialsOfRow(row))
  if (denial !== undefined) return denial.code === 'CLUSTER_LOCKED' ? 'locked' : 'revoked'
  return row.not_after <= nowMs ? 'expired' : row.state
}

function listText(rows: readonly ListedCertificate[], denials: Denials, nowMs: number): string {
  return table(
    ['SERIAL', 'IDENTITY', 'STATE', 'EXPIRES'],
    rows.map((row) => [
      row.serial,
      nameOf(row),
      stateOf(row, denials, nowMs),
      row.not_after > nowMs ? `in ${humanSpan(row.not_after - nowMs)}` : 'over',
    ]),
  )
}

const revoke: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'revoke [serial]',
    'Let a certificate, a key, an agent or a whole cluster in no more. Live tunnels are cut within a second.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS)
        .positional('serial', {
          type: 'string',
          describe: 'Serial that certs list shows, or the beginning of one.',
        })
        .option('key', {
          type: 'string',
          requiresArg: true,
          describe: 'Every certificate of this key: sha256:HEX of its SubjectPublicKeyInfo.',
        })
        .option('cluster', {
          type: 'string',
          requiresArg: true,
          describe: 'All that the agents of a cluster hold; each comes back with a new join token.',
        })
        .option('agent', {
          type: 'string',
          requiresArg: true,
          describe: 'With --cluster: of this agent only.',
        })
        .option('reason', {
          type: 'string',
          default: 'no reason given',
          requiresArg: true,
          describe: 'For the records, and for whoever is refused.',
        })
        .example('$0 certs revoke 4f2a91 --config gateway.yaml --reason "laptop lost"', ''),
    (args) => {
      done(withStore(args, surroundings, (tools) => runRevoke(args, tools, surroundings)))
    },
  )

interface RevokeArguments {
  readonly serial: string | undefined
  readonly key: string | undefined
  readonly cluster: string | undefined
  readonly agent: string | undefined
  readonly reason: string
}

async function runRevoke(
  { serial, key, cluster, agent, reason }: RevokeArguments,
  { records, denials, actor, nowMs }: StoreTools,
  { output }: Surroundings,
): Promise<number> {
  const ways = [serial, key, cluster].filter((way) => way !== undefined)
  if (ways.length !== 1 || (agent !== undefined && cluster === undefined))
    throw new PosternError(
      'USAGE',
      'name one of: a serial, --key, or --cluster with or without --agent',
    )
  const order = { reason: reason.slice(0, 200), actor, nowMs }
  if (serial !== undefined) {
    if (!SERIAL.test(serial))
      throw new PosternError('USAGE', 'a serial is 6 or more hex digits, in lower case')
    const row = await certificateOfSerial(serial, records.database)
    const count = await revokeWithRenewals({ records, denials }, { certificate: row }, order)
    output.result(`revoked: certificate ${row.serial} of ${nameOf(row)}${renewals(count)}`)
  } else if (key !== undefined) {
    if (!PIN.test(key)) throw new PosternError('USAGE', '--key is sha256: and 64 hex digits')
    const count = await revokeWithRenewals({ records, denials }, { key }, order)
    output.result(`revoked: every certificate of key ${key}${renewals(count)}`)
  } else {
    const rows = await listCertificates({ cluster, agent }, records.database)
    const name = agent === undefined ? `cluster ${cluster ?? ''}` : `${cluster ?? ''}/${agent}`
    if (rows.length === 0)
      throw new PosternError('NOT_KNOWN', `no certificate was ever issued to ${name}`)
    const kind = agent === undefined ? ('cluster' as const) : ('agent' as const)
    await denials.deny({ kind, cluster: cluster ?? '', agent: agent ?? null }, order)
    output.result(`revoked: all that ${name} holds; it comes back with a new join token`)
  }
  return 0
}

function renewals(count: number): string {
  return count === 0 ? '' : `, and ${String(count)} that were renewed from it`
}

const issue: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'issue',
    'Make a key and a certificate for a control-plane service that calls clusters.',
    issueOptions,
    (args) => {
      const run = withStore(args, surroundings, async (tools) => {
        const { caller, dir } = args
        if (!isLabel(caller))
          throw new PosternError('USAGE', '--caller must be 1 to 63 of a-z, 0-9 and inner hyphens')
        makeFolder(dir)
        const authorities = await tools.authorities()
        const issuer = issuerOf({ ...tools, authorities })
        const key = await makeKey(args.key)
        const request = readSigningRequest(makeSigningRequest(key))
        const { actor, nowMs } = tools
        const order = { actor, nowMs, lifetimeMs: lifetimeOf(args.ttl) }
        const der = await issuer.issueCaller(caller, request, order)
        const chain = [der, ...issuer.activeChain]
          .map((one) => pemText('CERTIFICATE', one))
          .join('')
        writeState(join(dir, `${caller}.key`), privatePem(key), FOR_OWNER)
        writeState(join(dir, `${caller}.pem`), chain, FOR_ALL)
        writeState(join(dir, 'bundle.pem'), authorities.bundle.pem, FOR_ALL)
        const settingsFile = join(dir, `${caller}.yaml`)
        writeState(settingsFile, callerSettings(caller, tools), FOR_ALL)
        const { serial, notAfterMs } = readCertificate(der)
        const facts = {
          caller,
          serial: serial.toString('hex'),
          notAfter: new Date(notAfterMs).toISOString(),
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
      })
      done(run)
    },
  )

function issueOptions(y: Argv) {
  return addStoreSettings(y, GATEWAY_SETTINGS)
    .option('caller', {
      type: 'string',
      demandOption: true,
      requiresArg: true,
      describe: 'Name of the service, as the policies of clusters know it.',
    })
    .option('dir', {
      type: 'string',
      demandOption: true,
      requiresArg: true,
      describe: 'Folder for NAME.pem, NAME.key and bundle.pem.',
    })
    .option('ttl', {
      type: 'string',
      default: '720h',
      requiresArg: true,
      describe: 'Life of the certificate, 1h to 2160h.',
    })
    .option('key', {
      choices: KEY_KINDS,
      default: 'p256' as const,
      requiresArg: true,
      describe: 'Kind of the key.',
    })
    .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object.' })
}

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
