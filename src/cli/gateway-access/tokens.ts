import { PosternError } from '../../base/errors.ts'
import { duration } from '../../config/setting.ts'
import {
  createToken,
  listTokens,
  revokeToken,
  type TokenRequest,
} from '../../gateway/operations/operations.ts'
import { STORE_SETTINGS, withStore } from './store.ts'
import { humanSpan, table, command, group, JSON_OPTION } from '../program/program.ts'

const TTL = duration('Life of a token.', '1h', ['1m', '168h'])

const create = command({
  path: 'create',
  describe: 'Make a join token. It is shown once, on stdout, and kept nowhere.',
  settings: STORE_SETTINGS,
  options: {
    cluster: {
      type: 'string',
      required: true,
      describe: 'Cluster that the agents will belong to.',
    },
    agent: { type: 'string', describe: 'Name of the agent. Default: each use makes one.' },
    uses: { type: 'string', default: '1', describe: 'How many agents may enrol with it.' },
    ttl: { type: 'string', default: '1h', describe: 'How long it is good for, 1m to 168h.' },
    ...JSON_OPTION,
  },
  examples: [['$0 tokens create --config gateway.yaml --cluster eu-1 > token', 'For one agent.']],
  run: (args, surroundings) => {
    const { output } = surroundings
    return withStore(args, surroundings, async (tools, operator) => {
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
  },
})

const list = command({
  path: 'list',
  describe: 'List join tokens: what they are for, and what is left of them.',
  settings: STORE_SETTINGS,
  options: { json: { type: 'boolean', default: false, describe: 'Print a JSON array.' } },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, { nowMs }) => {
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
    }),
})

const revoke = command({
  path: 'revoke <id>',
  describe: 'Make a join token useless. Agents that enrolled with it stay.',
  settings: STORE_SETTINGS,
  options: {
    id: { type: 'string', required: true, describe: 'The ID that create and list show.' },
  },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, operator) => {
      await revokeToken(tools, args.id, operator)
      surroundings.output.result(`token ${args.id} is revoked`)
      return 0
    }),
})

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

/** `gateway tokens create | list | revoke`, on the gateway's own store. */
export const gatewayTokens = group({
  path: 'tokens',
  describe: 'Make, list and revoke join tokens, with which agents enrol.',
  commands: [create, list, revoke],
})
