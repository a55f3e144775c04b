import { askBackend } from '../../transport/ask-backend.ts'

const ASK_MS = 2000
const ANSWER_BYTES_MAX = 16 * 1024

/** What cloudflared says of itself. */
export interface Readiness {
  readonly isReady: boolean
  /** To the edge. */
  readonly connections: number
  /** Why it is not ready. */
  readonly reason: string
}

/** Asks it whether it is ready, at its own port on this machine. Undefined: that is not known yet. Never throws. */
export async function readinessOf(port: number | undefined): Promise<Readiness> {
  const none = { isReady: false, connections: 0 }
  if (port === undefined) return { ...none, reason: 'it has not opened its port for metrics yet' }
  try {
    const { status, body } = await askBackend({
      url: new URL(`http://127.0.0.1:${String(port)}/ready`),
      method: 'GET',
      msMax: ASK_MS,
      bytesMax: ANSWER_BYTES_MAX,
    })
    const connections = connectionsIn(body.toString())
    const reason = `it has ${String(connections)} connections to the edge (/ready: ${String(status)})`
    return { isReady: status === 200 && connections > 0, connections, reason }
  } catch (error) {
    return { ...none, reason: `it does not say how it is: ${(error as Error).message}` }
  }
}

function connectionsIn(body: string): number {
  try {
    const { readyConnections } = JSON.parse(body) as { readyConnections?: unknown }
    return typeof readyConnections === 'number' ? readyConnections : 0
  } catch {
    // What is no JSON says nothing of connections.
    return 0
  }
}

/** What is passed on of its metrics: its own families, each a line of plain text. */
const METRIC_LINE = /^(?:# (?:HELP|TYPE) )?(?:cloudflared|quic_client)_[\x20-\x7e]{1,1000}$/
const METRICS_BYTES_MAX = 512 * 1024
const METRIC_LINES_MAX = 5000

/** Asks it for its metrics, in Prometheus' text format. Empty where it does not answer. Never throws. */
export async function metricsOf(port: number | undefined): Promise<string> {
  if (port === undefined) return ''
  try {
    const { status, body } = await askBackend({
      url: new URL(`http://127.0.0.1:${String(port)}/metrics`),
      method: 'GET',
      msMax: ASK_MS,
      bytesMax: METRICS_BYTES_MAX,
    })
    if (status !== 200) return ''
    const lines = body
      .toString()
      .split('\n')
      .filter((line) => METRIC_LINE.test(line))
    return lines
      .slice(0, METRIC_LINES_MAX)
      .map((line) => `${line}\n`)
      .join('')
  } catch {
    // Whoever asks hears of ours; that it does not answer, its state says.
    return ''
  }
}
