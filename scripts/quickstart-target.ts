import { createServer } from 'node:http'
import { writeFileSync } from 'node:fs'
import type { ChildProcesses } from './child-processes.ts'

export interface Target {
  readonly what: string
  readonly port: number
  /** Asks it something real at this base URL; returns one line about the answer. */
  query(base: string): Promise<string>
}

const WAIT_MS = 30_000

/** A real Prometheus where one is installed; otherwise a small HTTP server, which says what it is. */
export async function startTarget(
  children: ChildProcesses,
  folder: string,
  freePort: () => Promise<number>,
): Promise<Target> {
  const port = await freePort()
  try {
    return await startPrometheus(children, folder, port)
  } catch (error) {
    if (!String(error).includes('ENOENT')) throw error
    return await startBuiltIn(port)
  }
}

async function startPrometheus(
  children: ChildProcesses,
  folder: string,
  port: number,
): Promise<Target> {
  const config = `${folder}/prometheus.yml`
  const scrape = `  - job_name: itself\n    static_configs: [{ targets: ['127.0.0.1:${String(port)}'] }]\n`
  writeFileSync(config, `global: { scrape_interval: 1s }\nscrape_configs:\n${scrape}`)
  const args = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${folder}/prometheus`,
    `--web.listen-address=127.0.0.1:${String(port)}`,
  ]
  const child = children.start('prometheus', 'prometheus', args)
  await new Promise<void>((resolve, reject) => {
    child.process.once('error', reject)
    child.process.once('spawn', resolve)
  })
  await child.waitFor('Server is ready', WAIT_MS)
  return { what: 'Prometheus', port, query: queryPrometheus }
}

async function queryPrometheus(base: string): Promise<string> {
  const endAtMs = Date.now() + WAIT_MS
  for (;;) {
    const response = await fetch(`${base}/api/v1/query?query=up`)
    const body = (await response.json()) as {
      status: string
      data: { result: { value: [number, string] }[] }
    }
    const value = body.data.result[0]?.value[1]
    if (response.status === 200 && body.status === 'success' && value === '1')
      return `query up = ${value}`
    if (Date.now() > endAtMs) throw new Error(`the query "up" answered ${JSON.stringify(body)}`)
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

async function startBuiltIn(port: number): Promise<Target> {
  const server = createServer((_request, response) =>
    response.end('hello from behind the tunnel\n'),
  )
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  server.unref()
  const query = async (base: string): Promise<string> => {
    const text = await (await fetch(base)).text()
    if (!text.includes('behind the tunnel')) throw new Error(`unexpected answer ${text}`)
    return text.trim()
  }
  return { what: 'a built-in HTTP target (Prometheus is not installed)', port, query }
}
