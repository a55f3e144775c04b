/** One process of the benchmark. It loads a role, and answers requests over the IPC channel. */
import type { Serializable } from 'node:child_process'

export type Role = Readonly<Record<string, (args: never) => Promise<unknown>>>

interface Request {
  readonly id: number
  readonly name: string
  readonly args: Serializable
}

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
process.send?.({ id: 0 })
