import { spawnSync } from 'node:child_process'

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
