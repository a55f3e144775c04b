import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../scripts/free-port.ts'
import { eventually } from './eventually.ts'

/** A real Prometheus that scrapes itself twice a second, once as each of two namespaces. */
export class PrometheusServer {
  readonly url: string
  readonly #folder: string
  readonly #process: ChildProcess

  private constructor(port: number) {
    const address = `127.0.0.1:${String(port)}`
    this.url = `http://${address}`
    this.#folder = mkdtempSync(join(tmpdir(), 'postern-prometheus-'))
    const jobs = ['team-a', 'team-b'].map(
      (namespace) =>
        `  - { job_name: ${namespace}, static_configs: [{ targets: ["${address}"], labels: { namespace: ${namespace} } }] }`,
    )
    const text = `global: { scrape_interval: 500ms }\nscrape_configs:\n${jobs.join('\n')}\n`
    writeFileSync(join(this.#folder, 'prometheus.yml'), text)
    const args = [
      `--config.file=${join(this.#folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(this.#folder, 'data')}`,
      `--web.listen-address=${address}`,
    ]
    this.#process = spawn('prometheus', args, { stdio: 'ignore' })
  }

  static async start(): Promise<PrometheusServer> {
    const server = new PrometheusServer(await freePort())
    await eventually(() => server.#hasScraped(), 'Prometheus has scraped itself')
    return server
  }

  async #hasScraped(): Promise<boolean> {
    try {
      const answer = await fetch(`${this.url}/api/v1/query?query=count(up==1)`)
      const { data } = (await answer.json()) as { data: { result: { value: [number, string] }[] } }
      return data.result[0]?.value[1] === '2'
    } catch {
      // It does not listen yet.
      return false
    }
  }

  stop(): void {
    this.#process.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
