import { PosternError } from '../../base/errors.ts'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import { duration } from '../../config/setting.ts'
import {
  createToken,
  listTokens,
  revokeToken,
  type TokenRequest,
} from '../../gateway/operations/operations.ts'
import { withStore } from './store.ts'
import { humanSpan, table, type AddCommand, addStoreSettings } from '../program/program.ts'

const TTL = duration('Life of a token.', '1h', ['1m', '168h'])
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
      const run = withStore(args, surroundings, async (tools, operator) => {
        const request = requestOf(args)
        const { id, token, expiresAtMs, pins } = await createToken(tools, request, operator)
        const expiresAt = new Date(expiresAtMs).toISOString()
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
      const run = withStore(args, surroundings, async (tools, { nowMs }) => {
        const rows = (await listTokens(tools, nowMs)).map(
          ({ id, cluster, agent, usesLeft, expiresAtMs, state }) => ({
            ...{ id, cluster, agent, usesLeft },
            expiresAt: new Date(expiresAtMs).toISOString(),
            state,
          }),
        )
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
      const run = withStore(args, surroundings, async (tools, operator) => {
        await revokeToken(tools, args.id, operator)
        surroundings.output.result(`token ${args.id} is revoked`)
        return 0
      })
      done(run)
    },
  )

/** @throws USAGE */
function requestOf(args: {
  readonly cluster: string
  readonly agent: string | undefined
  readonly uses: string
  readonly ttl: string
}): TokenRequest {
  const { cluster, agent } = args
  const uses = /^\d+$/.test(args.uses) ? Number(args.uses) : Number.NaN
  try {
    return { cluster, agent, uses, ttlMs: TTL.parse(args.ttl) }
  } catch (error) {
    throw new PosternError('USAGE', `--ttl ${(error as Error).message}`)
  }
}
