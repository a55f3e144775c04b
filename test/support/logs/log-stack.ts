import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Logs, type Client } from '../../../src/client.ts'
import { TailResponse_Marker_Kind as Kind } from '../../../src/gen/postern/dataplane/v1/logs_pb.js'
import { reasonOfError } from '../reason-of-error.ts'
import { Stack } from '../stack.ts'

/** What one tail has told. */
export interface Told {
  readonly lines: string[]
  readonly markers: Kind[]
  cursor: string
}

/** A stack whose agent tells one source of logs, `main`. */
export class LogStack {
  readonly stack: Stack
  readonly logs: Client<typeof Logs>
  readonly labels: Readonly<Record<string, string>>

  private constructor(stack: Stack, logs: Client<typeof Logs>, labels: Record<string, string>) {
    this.stack = stack
    this.logs = logs
    this.labels = labels
  }

  static async start(
    stack: Stack,
    row: object,
    labels: Record<string, string>,
    more: Record<string, string> = {},
  ): Promise<LogStack> {
    const logs = JSON.stringify([{ name: 'main', ...row }])
    await stack.startAgent({ logs, ...more })
    const client = (await stack.connect()).cluster('c-1').service(Logs)
    return new LogStack(stack, client, labels)
  }

  /** Reads to the end, or until so many lines have come. */
  async read(more: object = {}, count = Infinity, onLines?: (all: number) => void): Promise<Told> {
    const told: Told = { lines: [], markers: [], cursor: '' }
    const given = new AbortController()
    const request = { source: 'main', labels: this.labels, ...more }
    try {
      for await (const one of this.logs.tail(request, { signal: given.signal })) {
        told.lines.push(...one.lines.map(({ text }) => text))
        if (one.marker !== undefined) told.markers.push(one.marker.kind)
        if (one.cursor !== '') told.cursor = one.cursor
        onLines?.(told.lines.length)
        if (told.lines.length >= count) break
      }
    } finally {
      given.abort()
    }
    return told
  }

  async reason(more: object): Promise<string> {
    return await this.read(more).then(() => 'it passed', reasonOfError)
  }
}

/** Writes a file that only its owner reads. */
export function secretFile({ pki }: Stack, name: string, text: string): string {
  const path = join(pki.folder, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}
