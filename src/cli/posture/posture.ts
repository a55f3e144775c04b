import { writeFileSync } from 'node:fs'
import { AGENT_SETTINGS } from '../../config/agent-settings.ts'
import { GATEWAY_SETTINGS } from '../../config/gateway-settings.ts'
import { LookResponseSchema, Posture, type LookResponse } from '../../gen/postern/v1/posture_pb.js'
import { askDaemon, messageJson, SOCKET_OPTIONS } from '../place/place.ts'
import {
  command,
  JSON_OPTION,
  settingsOf,
  type OptionTable,
  type Surroundings,
} from '../program/program.ts'
import { postureHtml } from './posture-html.ts'
import { postureText } from './posture-text.ts'

/** Stores and vaults are asked, one after the other at most. */
const LOOK_MS = 60_000
const FAILED = 1
const FOR_OWNER = 0o600
const GATEWAY_SOCKET = '/run/postern/gateway.sock'

const OPTIONS = {
  html: { type: 'string', describe: 'Write it to this file as one page, for people.' },
  ...JSON_OPTION,
  ...SOCKET_OPTIONS,
} as const satisfies OptionTable

interface PostureArguments {
  readonly html?: string | undefined
  readonly json: boolean
}

const WORDS =
  'Each line is OK, WARN (it holds, and could be better), FAIL, or UNKNOWN where nothing tells, with what was seen. Exit 0: no FAIL, 1: a FAIL, 3: no daemon runs.'

/** `agent posture`: encryption at rest and in transit of what is configured. */
export const agentPosture = command({
  path: 'posture',
  describe: `Show how what is stored and sent is encrypted: object stores, secrets backends, every hop of the agent, its own files and process, as the running daemon sees it. ${WORDS}`,
  options: OPTIONS,
  examples: [['$0 posture --html posture.html', 'a page for a reviewer']],
  run: async (args, surroundings) => {
    const place = { 'status.socket': AGENT_SETTINGS['status.socket'] }
    const { values } = settingsOf(place, { config: args.config }, surroundings.environment, true)
    const path = args.socket ?? args['status-socket'] ?? values['status.socket']
    return await show('agent', path, args, surroundings)
  },
})

/** `gateway posture`: the same of a gateway. */
export const gatewayPosture = command({
  path: 'posture',
  describe: `Show how what the gateway keeps and sends is encrypted: its store, which holds definitions of tasks, the keys of its CAs, its listeners and its process. ${WORDS}`,
  options: OPTIONS,
  run: async (args, surroundings) => {
    const place = { 'status.socket': GATEWAY_SETTINGS['status.socket'] }
    const { values } = settingsOf(place, { config: args.config }, surroundings.environment, true)
    const path = args.socket ?? args['status-socket'] ?? values['status.socket'] ?? GATEWAY_SOCKET
    return await show('gateway', path, args, surroundings)
  },
})

async function show(
  program: string,
  path: string,
  { json, html }: PostureArguments,
  surroundings: Surroundings,
): Promise<number> {
  const found: LookResponse = await askDaemon(Posture, path, surroundings, (daemon) =>
    daemon.look({}, { timeoutMs: LOOK_MS }),
  )
  const at = new Date(surroundings.ambient('error', 'posture').clock.wallMs()).toISOString()
  if (html !== undefined)
    writeFileSync(html, postureHtml(program, at, found.findings), { mode: FOR_OWNER })
  const text = json
    ? JSON.stringify(messageJson(LookResponseSchema, found), null, 2)
    : postureText(found.findings)
  surroundings.output.result(text)
  return found.findings.some(({ outcome }) => outcome === 'FAIL') ? FAILED : 0
}
