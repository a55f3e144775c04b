import { spawn, spawnSync } from 'node:child_process'

export interface ToolRun {
  readonly status: number
  readonly output: string
  readonly stdout: Buffer
}

/** Runs a program with what it is to read; nothing is thrown for its exit status. */
export function runTool(
  program: string,
  args: readonly string[],
  input: string | Buffer = '',
): ToolRun {
  const { status, stdout, stderr, error } = spawnSync(program, args, { input })
  if (error !== undefined) throw error
  return { status: status ?? -1, stdout, output: stdout.toString() + stderr.toString() }
}

export function openssl(args: readonly string[], input: string | Buffer = ''): ToolRun {
  return runTool('openssl', args, input)
}

/** The same without holding up this process, in which a server may have to answer. */
export async function runToolBeside(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const chunks: Buffer[] = []
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await new Promise((resolve, reject) => {
    child.once('close', resolve).once('error', reject)
  })
  return Buffer.concat(chunks).toString()
}
