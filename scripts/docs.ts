/** Writes the generated documents, or parts of documents, from the tables in the code. */
import { EXAMPLES } from './setting-examples.ts'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { AGENT_METRICS } from '../src/agent/control/metrics.ts'
import { ERROR_CODES } from '../src/base/error-codes.ts'
import type { MetricRow } from '../src/base/metrics.ts'
import { AGENT_SETTINGS } from '../src/config/agent-settings.ts'
import { CALLER_SETTINGS, GATEWAY_SETTINGS } from '../src/config/gateway-settings.ts'
import { GATEWAY_METRICS } from '../src/gateway/control/metrics.ts'
import { flagName, variableName } from '../src/config/load.ts'
import type { SettingsTable } from '../src/config/setting.ts'
import { DEFAULT_MUX_LIMITS } from '../src/mux/limits.ts'
import { FIXED_LIMITS } from '../src/mux/abuse.ts'
import { WIRE_CODES } from '../src/wire/codes.ts'
import { DATA_TYPE_NAMES, dataTypeNumber } from '../src/contract/data-type.ts'
import { CATALOG, CATALOG_VERSION } from '../src/guard/catalog.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')
}

function errorsDocument(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, row]) => [
    `\`${code}\``,
    row.meaning,
    row.recovery,
    row.grpc,
    String(row.exit),
    String(WIRE_CODES.find(([, name]) => name === code)?.[0] ?? ''),
  ])
  return `# Errors

Every failure that Postern reports has one of these codes. Generated from \`src/base/error-codes.ts\` by
\`npm run docs\`; a test keeps the two equal.

*next*: what may be done: the same thing later (retry), the same with another credential (reauthenticate), or
nothing until a person has changed something (give-up). *status*: what a caller sees. *exit*: status of a command
that ends with it. *wire*: the number in GOAWAY, REFUSE, RESET and STOP, where it travels.

${table(['code', 'meaning', 'next', 'status', 'exit', 'wire'], rows)}
`
}

interface Schema {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly oneOf?: readonly Schema[]
}

function schemaRows(properties: Schema['properties'], prefix = ''): string[][] {
  return Object.entries(properties ?? {}).flatMap(([name, field]) => {
    const { type = 'boolean', description = '', items } = field
    const path = `${prefix}${name}`
    const row = [`\`${path}\``, [type].flat().join(' or '), description]
    // The best tunnel, and the last state, have the fields that stand elsewhere already.
    const isKnown = path === 'tunnel' || path === 'last'
    const below = isKnown ? [] : schemaRows(field.properties, `${path}.`)
    return [row, ...below, ...schemaRows(items?.properties, `${path}[].`)]
  })
}

function statusDocument(): string {
  const path = `${ROOT}schemas/agent-status.schema.json`
  const { oneOf = [] } = JSON.parse(readFileSync(path, 'utf8')) as Schema
  const [running, down] = oneOf.map(({ properties }) =>
    table(['field', 'type', 'meaning'], schemaRows(properties)),
  )
  return `# agent status --json

One JSON object; with \`--watch\` one a line, each second. Fields are only ever added. Times are ISO 8601, spans in ms. The
schema is \`schemas/agent-status.schema.json\`; this is generated from it by \`npm run docs\`, and a test holds the daemon to it.
Exit status: 0 healthy, 1 degraded or down, 3 no daemon runs.

## While the daemon runs

${running ?? ''}

## When it does not

${down ?? ''}
`
}

function settingsTable(settings: SettingsTable): string {
  const rows = Object.entries(settings).map(([key, setting]) => {
    const fallback =
      setting.defaultText === ''
        ? setting.isOptional === true
          ? ''
          : '**required**'
        : `\`${setting.defaultText}\``
    return [
      `\`${key}\``,
      setting.describe,
      setting.kind,
      fallback,
      `\`--${flagName(key)}\``,
      `\`${variableName(key)}\``,
    ]
  })
  return table(['key in the file', 'meaning', 'value', 'default', 'flag', 'variable'], rows)
}

function settingsDocument(): string {
  return `# Settings

Every setting is a key of the YAML file (\`--config\`), a flag and an environment variable. A flag goes before
the environment, the environment before the file, the file before the default. Unknown keys are errors. Lists are
JSON in flags and variables. Secrets are given by the path of a file only. \`agent config print\` and \`gateway config
print\` show every value and where it came from. Generated from \`src/config/\` by \`npm run docs\`.

## agent

${settingsTable(AGENT_SETTINGS)}

## gateway

${settingsTable(GATEWAY_SETTINGS)}

## gateway call, forward and clusters

${settingsTable(CALLER_SETTINGS)}
`
}

function metricsDocument(): string {
  const rows = (metrics: readonly MetricRow[]): string =>
    table(
      ['metric', 'kind', 'labels', 'meaning'],
      metrics.map(({ name, kind, labels = [], help }) => [
        `\`${name}\``,
        kind,
        labels.map((label) => `\`${label}\``).join(', '),
        help,
      ]),
    )
  return `# Metrics

In Prometheus' text format at \`http://ADDRESS/metrics\`, where the setting \`metrics.listen\` names the address. They
are read when they are asked for. Labels have few values, all of them ours, names of services in the agent's own settings, or names of
clusters, of which at most 1 000 have a series: none is a name that a peer chooses.
Generated from the code by \`npm run docs\`; a test keeps the two equal.

Beside them are two probes, which answer 200 or 503, with one line that says why. \`/readyz\` of the agent: the tunnel is
up; of the gateway: it does not drain. \`/livez\`: the daemon is not stuck; a tunnel that waits for its next try is
alive. \`agent health\` is the same for probes that run a command, over the status socket. The agent listens once it has
enrolled.

Alerting rules are in [monitoring/alerts.yaml](../monitoring/alerts.yaml), a dashboard for Grafana in
[monitoring/dashboard.json](../monitoring/dashboard.json).

## agent

${rows(AGENT_METRICS)}

## gateway

${rows(GATEWAY_METRICS)}
`
}

function protocolTail(): string {
  const types = DATA_TYPE_NAMES.map((name) => {
    const { title, classification, residency, rule, messageBytesMax, holds } = CATALOG[name]
    const most = messageBytesMax === undefined ? '' : `${String(messageBytesMax / 1024)} KiB`
    return [
      ...[String(dataTypeNumber(name)), `\`${name}\``, title, classification, residency],
      ...[rule, most, holds],
    ]
  })
  const codes = WIRE_CODES.map(([number, code]) => [
    String(number),
    `\`${code}\``,
    ERROR_CODES[code].grpc,
    ERROR_CODES[code].meaning,
  ])
  const columns = [
    'number',
    'name',
    'what it is',
    'class',
    'where it lies',
    'rule',
    'message',
    'holds',
  ]
  return `${table(columns, types)}

Version ${String(CATALOG_VERSION)} of the catalog. *never*: it does not cross. *relay*: it crosses in memory only, bounded, never stored or
logged. *metadata*: bounded messages cross, of fields that their description has. *control plane only*: it is never sent to an
agent. \`service-traffic\` is allowed by a rule that names its service, and by no wildcard; it is all that a raw TCP target carries.
\`secret\` and \`presigned-url\` cross on sealed calls only, unless the customer's policy says otherwise. Every method declares what
it carries by the option \`postern.v1.data\` (\`proto/postern/v1/data.proto\`). A number that a receiver does not know is read as 0.

## 8. Codes

In GOAWAY, REFUSE, RESET and STOP. An unknown number is read as INTERNAL.

${table(['number', 'code', 'gRPC status', 'meaning'], codes)}

## 9. Limits

What our implementation grants and tolerates, at least. A peer that stays within these is never cut off for
its rate. Frames without effect are extension frames, empty DATA without END, limits that are no news and
PONGs that nobody awaits.

${table(['limit', 'value', 'when crossed'], limitRows())}

## 10. Vectors

\`test/vectors/frames.json\`: each entry of \`valid\` is one frame that decodes by itself. Each of \`invalid\` is what an
acceptor receives from a dialler after both have said HELLO and with stream 1 open; \`error\` is the code of the
GOAWAY that it answers with. What follows a header that is to be judged by itself may be missing.

\`test/vectors/exchanges.json\`: what both sides wrote, batch by batch. The payloads of OPEN and TRAILER are those of
section 6 where the exchange says so, and opaque text where not. When a side pings, and which batch a frame
falls into, may differ.

\`test/vectors/calls.json\`: each entry of \`heads\` is what follows the credit in the payload of an OPEN with END to a gateway,
with the code that it is refused with; those without a code come to a cluster that nobody knows, or to the gateway. Each of
\`trailers\` is the payload of a TRAILER that answers a unary call, with the code that the call fails with at its caller.

\`test/vectors/older-peers.json\`: what an agent and a gateway of 0.1.0 said until the welcome. A peer of today MUST get on with either.
`
}

function limitRows(): string[][] {
  const limits = DEFAULT_MUX_LIMITS
  const n = (value: number): string => value.toLocaleString('en-US').replaceAll(',', ' ')
  return [
    ['streams that the peer holds open', n(limits.streamsMax), 'REFUSE, STREAM_LIMIT, retry'],
    ['OPEN per second', n(limits.opensPerSecond), 'REFUSE, STREAM_LIMIT, retry'],
    [
      'RESET of the peer’s own streams per second (burst)',
      `${n(limits.resetsPerSecond)} (${n(limits.resetsBurst)})`,
      'session ends, FLOOD',
    ],
    [
      'PING per second (burst)',
      `${n(limits.pingsPerSecond)} (${n(FIXED_LIMITS.pingsBurst)})`,
      'session ends, FLOOD',
    ],
    [
      'frames without effect per second (burst)',
      `${n(limits.emptyFramesPerSecond)} (${n(FIXED_LIMITS.framesBurst)})`,
      'session ends, FLOOD',
    ],
    [
      'late frames per second (burst)',
      `${n(limits.lateFramesPerSecond)} (${n(FIXED_LIMITS.framesBurst)})`,
      'session ends, FLOOD',
    ],
    ['GOAWAY after the first', '16', 'session ends, FLOOD'],
    [
      'control frames that wait for the peer to read, bytes',
      n(limits.controlBacklogBytesMax),
      'session ends, FLOOD',
    ],
    [
      'opens and answers that wait for the peer to read, bytes',
      n(limits.callBacklogBytesMax),
      'REFUSE, STREAM_LIMIT, retry; where no budget is left for them the session ends, BUDGET_EXHAUSTED',
    ],
    ['session credit, bytes', n(limits.sessionCreditBytes), 'session ends, FLOW_CONTROL_VIOLATION'],
    [
      'stream credit before ACCEPT, bytes',
      n(limits.streamCreditBytes),
      'session ends, FLOW_CONTROL_VIOLATION',
    ],
    [
      'window of a stream, bytes',
      `${n(limits.windowBytesMin)} to ${n(limits.windowBytesMax)}`,
      'session ends, FLOW_CONTROL_VIOLATION',
    ],
    [
      'windows of a session in sum, bytes',
      n(limits.sessionWindowBytesMax),
      'smaller windows, then REFUSE, BUDGET_EXHAUSTED, retry',
    ],
  ]
}

/** Only what must be given is in force; everything else is a comment. */
function exampleConfig(): string {
  const lines = Object.entries(AGENT_SETTINGS).flatMap(([key, setting]) => {
    const isNeeded = setting.defaultText === '' && setting.isOptional !== true
    const value = EXAMPLES[key] ?? setting.defaultText
    const words = `${setting.describe} (${setting.kind})`.split(' ')
    const comment = wrapped(words, 100).map((line) => `# ${line}`)
    return [...comment, `${isNeeded ? '' : '#'}${key}: ${value}`, '']
  })
  return `# Settings of the Postern agent. A key may stand alone, as here, or nested: gateway: { address: ... }.
# What is a comment shows an example, or the default. agent config check judges this file.

${lines.join('\n').trimEnd()}
`
}

function wrapped(words: readonly string[], width: number): string[] {
  const lines: string[] = []
  for (const word of words) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < width)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

/** The units, within the program: an executable has no files beside it. */
function unitTexts(): string {
  const unit = (name: string): string =>
    readFileSync(`${ROOT}systemd/postern-${name}.service`, 'utf8')
  return `/** The systemd unit of the agent, from systemd/. Generated by npm run docs. */
export const AGENT_UNIT = ${quoted(unit('agent'))}

/** The systemd unit of the gateway. */
export const GATEWAY_UNIT = ${quoted(unit('gateway'))}
`
}

/** The example, within the program. */
function exampleText(): string {
  return `/** The settings file that an agent's service begins with: systemd/agent.example.yaml. Generated by npm run docs. */
export const EXAMPLE_CONFIG = ${quoted(exampleConfig())}
`
}

function quoted(value: string): string {
  return `\`${value.replaceAll('\\', '\\\\').replaceAll('`', '\\`').replaceAll('${', '\\${')}\``
}

export function generatedDocuments(): ReadonlyMap<string, string> {
  const protocol = readFileSync(`${ROOT}docs/PROTOCOL.md`, 'utf8')
  const [head = ''] = protocol.split('## 7. Data types')
  return new Map([
    ['docs/ERRORS.md', errorsDocument()],
    ['docs/SETTINGS.md', settingsDocument()],
    ['docs/METRICS.md', metricsDocument()],
    ['docs/STATUS.md', statusDocument()],
    ['systemd/agent.example.yaml', exampleConfig()],
    ['src/cli/service/units.ts', unitTexts()],
    ['src/cli/service/example-config.ts', exampleText()],
    [
      'docs/PROTOCOL.md',
      `${head}## 7. Data types\n\nGenerated from the code, as are sections 8 to 10, by \`npm run docs\`.\n\n${protocolTail()}`,
    ],
  ])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of generatedDocuments()) writeFileSync(`${ROOT}${path}`, text)
}
