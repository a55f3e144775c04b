/** One process of the benchmark. It loads a role, and answers requests over the IPC channel. */
import type { Serializable } from 'node:child_process'
import { basename } from 'node:path'
import { setFlagsFromString } from 'node:v8'

import { FLAGS } from '../bin/flags.js'

export type Role = Readonly<Record<string, (args: never) => Promise<unknown>>>

interface Request {
  readonly id: number
  readonly name: string
  readonly args: Serializable
}

/** A daemon is measured with the settings of V8 that its program starts it with. */
const isDaemon = ['gateway', 'agent'].includes(basename(process.argv[2] ?? '', '.ts'))
for (const flag of isDaemon ? FLAGS : []) setFlagsFromString(flag)

const { role } = (await import(process.argv[2] ?? '')) as { role: Role }

process.on('message', (message: Request) => {
  const act = role[message.name]
  const run = async (): Promise<unknown> => {
    if (act === undefined) throw new Error(`no function ${message.name}`)
    return await act(message.args as never)
  }
  run().then(
    (result) => process.send?.({ id: message.id, result }),
    (error: unknown) =>
      process.send?.({
        id: message.id,
        error: error instanceof Error ? error.stack : String(error),
      }),
  )
})
process.once('SIGINT', () => process.exit(0))
process.send?.({ id: 0 })
