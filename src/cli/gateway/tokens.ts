import { PosternError } from '../../base/errors.ts'
import { GATEWAY_SETTINGS, type GatewaySettings } from '../../config/gateway-settings.ts'
import { duration } from '../../config/setting.ts'
import { gatewayFiles, Tokens } from '../../gateway/ca/ca.ts'
import type { TokenRow } from '../../store/schema.ts'
import { rootPins } from '../../identity/certificate-files.ts'
import { isLabel } from '../../identity/name.ts'
import { localActor, openRecords } from './store.ts'
import {
  humanSpan,
  table,
  type AddCommand,
  type Surroundings,
  addStoreSettings,
  settingsOf,
} from '../program/program.ts'

const TTL = duration('Life of a token.', '1h', ['1m', '168h'])
const USES_MAX = 10_000

interface Tools {
  readonly tokens: Tokens
  readonly settings: GatewaySettings
  readonly nowMs: number
  readonly actor: string
}

/** `gateway tokens create | list | revoke`, on the gateway's own store. */
export const gatewayTokens: AddCommand = (yargs, surroundings, done) =>
  yargs.command('tokens', 'Make, list and revoke join tokens, with which agents enrol.', (y) =>
    revoke(
      list(create(y, surroundings, done), surroundings, done),
      surroundings,
      done,
    ).demandCommand(1, 'Name one of: create, list, revoke.'),
  )

const create: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'create',
    'Make a join token. It is shown once, on stdout, and kept nowhere.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS)
        .option('cluster', {
          type: 'string',
          demandOption: true,
          requiresArg: true,
          describe: 'Cluster that the agents will belong to.',
        })
        .option('agent', {
          type: 'string',
          requiresArg: true,
          describe: 'Name of the agent. Default: each use makes one.',
        })
        .option('uses', {
          type: 'string',
          default: '1',
          requiresArg: true,
          describe: 'How many agents may enrol with it.',
        })
        .option('ttl', {
          type: 'string',
          default: '1h',
          requiresArg: true,
          describe: 'How long it is good for, 1m to 168h.',
        })
        .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object.' })
        .example('$0 tokens create --config gateway.yaml --cluster eu-1 > token', 'For one agent.'),
    (args) => {
      const { output } = surroundings
      const run = withTokens(args, surroundings, async ({ tokens, settings, nowMs, actor }) => {
        const request = judged(args)
        const { id, token } = await tokens.create({ ...request, actor }, nowMs)
        const pins = rootPins(gatewayFiles(settings).bundleFile)
        const expiresAt = new Date(nowMs + request.ttlMs).toISOString()
        if (args.json) output.result(JSON.stringify({ id, token, expiresAt, pins }, null, 2))
        else output.result(token)
        output.note(
          `token ${id}: ${String(request.uses)} use(s), until ${expiresAt}\n` +
            pins.map((pin) => `CA pin ${pin}`).join('\n') +
            `\nOn the agent's machine: agent enroll --gateway https://HOST:PORT --token-file FILE --ca-pin ${pins[0] ?? ''}`,
        )
        return 0
      })
      done(run)
    },
  )

const list: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'list',
    'List join tokens: what they are for, and what is left of them.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS).option('json', {
        type: 'boolean',
        default: false,
        describe: 'Print a JSON array.',
      }),
    (args) => {
      const run = withTokens(args, surroundings, async ({ tokens, nowMs }) => {
        const rows = (await tokens.list()).map((row) => ({
          id: row.id,
          cluster: row.cluster,
          agent: row.agent,
          usesLeft: row.uses_left,
          expiresAt: new Date(row.expires_at).toISOString(),
          state: stateOf(row, nowMs),
        }))
        surroundings.output.result(
          args.json
            ? JSON.stringify(rows, null, 2)
            : table(
                ['ID', 'CLUSTER', 'AGENT', 'USES LEFT', 'STATE', 'EXPIRES'],
                rows.map(({ id, cluster, agent, usesLeft, state, expiresAt }) => [
                  id,
                  cluster,
                  agent ?? '(any)',
                  String(usesLeft),
                  state,
                  `${expiresAt}${state === 'good' ? ` (${humanSpan(Date.parse(expiresAt) - nowMs)})` : ''}`,
                ]),
              ),
        )
        return 0
      })
      done(run)
    },
  )

const revoke: AddCommand = (yargs, surroundings, done) =>
  yargs.command(
    'revoke <id>',
    'Make a join token useless. Agents that enrolled with it stay.',
    (y) =>
      addStoreSettings(y, GATEWAY_SETTINGS).positional('id', {
        type: 'string',
        demandOption: true,
        describe: 'The ID that create and list show.',
      }),
    (args) => {
      const run = withTokens(args, surroundings, async ({ tokens, nowMs, actor }) => {
        await tokens.revoke(args.id, actor, nowMs)
        surroundings.output.result(`token ${args.id} is revoked`)
        return 0
      })
      done(run)
    },
  )

function stateOf(row: TokenRow, nowMs: number): string {
  if (row.revoked_at !== null) return 'revoked'
  if (row.uses_left <= 0) return 'used up'
  return row.expires_at <= nowMs ? 'expired' : 'good'
}

async function withTokens(
  args: Readonly<Record<string, unknown>>,
  surroundings: Surroundings,
  act: (tools: Tools) => Promise<number>,
): Promise<number> {
  const { values } = settingsOf(GATEWAY_SETTINGS, args, surroundings.environment)
  const { clock, random } = surroundings.ambient('error', 'gateway')
  const records = await openRecords(values)
  try {
    const tokens = new Tokens(records, random)
    const actor = localActor()
    return await act({ tokens, settings: values, nowMs: clock.wallMs(), actor })
  } finally {
    await records.close()
  }
}

/** @throws USAGE */
function judged(args: {
  readonly cluster: string
  readonly agent: string | undefined
  readonly uses: string
  readonly ttl: string
}): { cluster: string; agent: string | undefined; uses: number; ttlMs: number } {
  const { cluster, agent } = args
  const uses = Number(args.uses)
  for (const [option, name] of [
    ['cluster', cluster],
    ['agent', agent ?? 'none'],
  ] as const)
    if (!isLabel(name))
      throw new PosternError('USAGE', `--${option} must be 1 to 63 of a-z, 0-9 and inner hyphens`)
  if (!/^\d+$/.test(args.uses) || uses < 1 || uses > USES_MAX)
    throw new PosternError('USAGE', `--uses must be a number from 1 to ${String(USES_MAX)}`)
  if (agent !== undefined && uses > 1)
    throw new PosternError(
      'USAGE',
      'a token for one agent has one use; leave out --agent or --uses',
    )
  try {
    return { cluster, agent, uses, ttlMs: TTL.parse(args.ttl) }
  } catch (error) {
    throw new PosternError('USAGE', `--ttl ${(error as Error).message}`)
  }
}
