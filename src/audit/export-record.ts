const COLUMNS = [
  ...['n', 'at', 'caller', 'known', 'user', 'method', 'service', 'verb', 'path', 'type', 'about'],
  ...['decision', 'rule', 'code', 'why', 'id', 'repeated', 'gateway', 'region'],
  ...['callerRegion', 'callerIssuer', 'sealed', 'url'],
  ...[
    'stream',
    'outcome',
    'end',
    'in',
    'out',
    'ms',
    'event',
    'text',
    'own',
    'hour',
    'calls',
    'refused',
  ],
] as const

type Line = Readonly<Record<string, unknown>>

/** Returns the first line of a record as CSV (RFC 4180). */
export function csvHeader(): string {
  return COLUMNS.join(',')
}

/** Writes a line of a record as one of CSV. What a spreadsheet would take for a formula is quoted as text. */
export function csvLine(line: Line): string {
  return COLUMNS.map((name) => csvCell(line[name])).join(',')
}

function csvCell(value: unknown): string {
  if (value === undefined || value === null) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const safe = /^[=+\-@\t\r]/.test(text) && typeof value === 'string' ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** Writes lines of a record as logs of OpenTelemetry, in the JSON of OTLP (opentelemetry-proto, logs.proto). */
export function otelLogs(lines: readonly Line[], identity: string): string {
  const logRecords = lines.map((line) => {
    const { at, decision } = line
    const nanos = typeof at === 'string' ? `${String(Date.parse(at))}000000` : '0'
    const isRefusal = decision === 'deny'
    return {
      timeUnixNano: nanos,
      severityNumber: isRefusal ? 13 : 9,
      severityText: isRefusal ? 'WARN' : 'INFO',
      body: { stringValue: 'postern.record' },
      attributes: Object.entries(line)
        .filter(([, value]) => value !== null)
        .map(([key, value]) => ({ key: `postern.${key}`, value: anyValue(value) })),
    }
  })
  const resource = {
    attributes: [
      { key: 'service.name', value: { stringValue: 'postern-agent' } },
      { key: 'service.instance.id', value: { stringValue: identity } },
    ],
  }
  const scopeLogs = [{ scope: { name: 'postern.audit' }, logRecords }]
  return JSON.stringify({ resourceLogs: [{ resource, scopeLogs }] })
}

function anyValue(value: unknown): object {
  switch (typeof value) {
    case 'number':
      return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
    case 'boolean':
      return { boolValue: value }
    case 'string':
      return { stringValue: value }
    default:
      return { stringValue: JSON.stringify(value) }
  }
}
