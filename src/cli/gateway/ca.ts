import { PosternError } from '../../base/errors.ts'
import type { Connected } from '../../gateway/access/access.ts'
import type { ChangePhase } from '../../gateway/ca/ca.ts'
import {
  CaOperations,
  type CaStatus,
  type StoreTools,
} from '../../gateway/operations/operations.ts'
import { Admin } from '../../gen/postern/v1/admin_pb.js'
import { readProtection } from '../../identity/passphrase.ts'
import { STORE_SETTINGS, withStore } from '../gateway-access/gateway-access.ts'
import { ASK_MS, askDaemon } from '../place/place.ts'
import { GATEWAY_SOCKET } from './drain.ts'
import {
  humanSpan,
  table,
  command,
  group,
  type Command,
  JSON_OPTION,
  type Surroundings,
} from '../program/program.ts'

/** What a step means, said after it; next what to do. */
const NEXT: Readonly<Record<ChangePhase, string>> = {
  standby: 'No change is under way. Next: gateway ca prepare --root DIR [--new-root DIR]',
  prepared:
    'The next CA is trusted and issues nothing. Next: gateway ca activate once every agent has the bundle; or rollback',
  activated:
    'The new CA issues; the old one is trusted still. Next: gateway ca retire once no certificate under it lives; or rollback',
}

const status = command({
  path: 'status',
  describe: 'Show the CAs, where a change stands, and whom the next step would cut off.',
  settings: STORE_SETTINGS,
  options: { ...JSON_OPTION },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, { nowMs }) => {
      const facts = await (await operationsOf(tools, surroundings)).status(nowMs)
      surroundings.output.result(args.json ? JSON.stringify(facts, null, 2) : statusText(facts))
      return 0
    }),
})

const prepare = command({
  path: 'prepare',
  describe:
    'Make the next issuing CAs, under the root or under a new one, and hand agents the wider bundle.',
  settings: STORE_SETTINGS,
  options: {
    ...JSON_OPTION,
    root: {
      type: 'string',
      required: true,
      describe: 'Folder with root.pem and root.key, brought back for this step alone.',
    },
    'new-root': {
      type: 'string',
      describe:
        'Make a new root in this folder, to be taken away afterwards. Default: the root stays.',
    },
    'root-passphrase-file': { type: 'string', describe: 'Passphrase of the keys of the roots.' },
  },
  run: (args, surroundings) =>
    withStore(args, surroundings, async (tools, operator) => {
      const operations = await operationsOf(tools, surroundings)
      const request = {
        rootFolder: args.root,
        newRootFolder: args['new-root'],
        rootProtection: readProtection({ file: args['root-passphrase-file'], command: [] }),
      }
      const facts = await operations.prepare(request, operator)
      surroundings.output.result(args.json ? JSON.stringify(facts, null, 2) : statusText(facts))
      const roots = [args.root, args['new-root']].filter((folder) => folder !== undefined)
      surroundings.output.note(
        `Take ${roots.join(' and ')} off this machine again: the bundles of all steps are signed.`,
      )
      return 0
    }),
})

const STEPS = {
  activate: 'Issue by the prepared CAs; agents renew within ca.renewSpread.',
  retire: 'Trust the CA before no more.',
  rollback: 'Undo the last step.',
} as const

function step(name: keyof typeof STEPS): Command {
  return command({
    path: name,
    describe: `${STEPS[name]} Refused while somebody would be cut off.`,
    settings: STORE_SETTINGS,
    options: {
      ...JSON_OPTION,
      force: {
        type: 'boolean',
        default: false,
        alias: 'yes',
        describe: 'Go on although agents or callers would be cut off.',
      },
    },
    run: (args, surroundings) =>
      withStore(args, surroundings, async (tools, operator) => {
        const operations = await operationsOf(tools, surroundings)
        const facts = await operations.step(name, operator, args.force)
        surroundings.output.result(args.json ? JSON.stringify(facts, null, 2) : statusText(facts))
        return 0
      }),
  })
}

async function operationsOf(tools: StoreTools, surroundings: Surroundings): Promise<CaOperations> {
  const socket = tools.settings['status.socket'] ?? GATEWAY_SOCKET
  const connected = await whoIsConnected(socket, surroundings)
  return await CaOperations.open(tools, connected)
}

/** What the daemon says; undefined where none answers, and whoever holds a certificate counts as live. */
async function whoIsConnected(
  socket: string,
  surroundings: Surroundings,
): Promise<readonly Connected[] | undefined> {
  try {
    const { peers } = await askDaemon(Admin, socket, surroundings, (gateway) =>
      gateway.listConnected({}, { timeoutMs: ASK_MS }),
    )
    return peers
  } catch (error) {
    if (error instanceof PosternError) return undefined
    throw error
  }
}

function statusText({ phase, bundleVersion, generations, pins, stragglers }: CaStatus): string {
  const rows = generations.map(({ id, phase: state, root, notAfter, expiresInMs }) => [
    String(id),
    state,
    `${notAfter} (${humanSpan(expiresInMs)})`,
    root,
  ])
  const lines = [
    `phase     ${phase}`,
    `bundle    ${String(bundleVersion)}`,
    ...pins.map((pin) => `CA pin    ${pin}`),
    '',
    table(['CA', 'STATE', 'EXPIRES', 'ROOT'], rows),
    '',
    ...(stragglers.length === 0
      ? []
      : [
          `not ready for the next step: ${String(stragglers.length)}`,
          table(
            ['WHO', 'WHY'],
            stragglers.map(({ identity, reason }) => [identity, reason]),
          ),
          '',
        ]),
    NEXT[phase],
  ]
  return lines.join('\n')
}

/** `gateway ca`: the change of a CA, step by step. */
export const gatewayCa = group({
  path: 'ca',
  describe: 'Show the CAs, and replace an issuing CA or the root without a gap.',
  commands: [status, prepare, step('activate'), step('retire'), step('rollback')],
})
