import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { PosternError } from '../base/errors.ts'
import type { Address } from '../base/address.ts'
import type { ProbeRow } from './probe-row.ts'
import { probeGrpc, probeHttp, probeTcp } from '../transport/probe-io.ts'

const SERVING = 1
const OUTPUT_BYTES_MAX = 64 * 1024
/** Nothing of the agent's own environment is a probe's to see. */
const COMMAND_ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C' }

/** Looks once whether a service works. @throws PosternError that says why it does not */
export async function checkTarget(
  row: ProbeRow,
  target: Address,
  signal: AbortSignal,
): Promise<void> {
  switch (row.type) {
    case 'tcp':
      await probeTcp(target, signal)
      return
    case 'http':
    case 'https':
      await checkHttp(row, target, signal)
      return
    case 'grpc': {
      const status = await probeGrpc(target, row.grpcService, signal)
      if (status !== SERVING) throw down(`its gRPC health is ${String(status)}, not SERVING`)
      return
    }
    case 'exec':
      await run(row.command, signal)
  }
}

async function checkHttp(row: ProbeRow, target: Address, signal: AbortSignal): Promise<void> {
  const { path, type, caFile, statusMin, statusMax, body: pattern } = row
  const caPem = caFile === undefined ? undefined : readFileSync(caFile, 'utf8')
  const { status, body } = await probeHttp({ target, path, isTls: type === 'https', caPem }, signal)
  if (status < statusMin || status > statusMax)
    throw down(`it answered ${String(status)} to GET ${path}`)
  if (pattern?.test(body) === false) throw down(`the answer to GET ${path} does not match`)
}

async function run([program = '', ...args]: readonly string[], signal: AbortSignal): Promise<void> {
  const options = {
    signal,
    env: COMMAND_ENVIRONMENT,
    killSignal: 'SIGKILL',
    maxBuffer: OUTPUT_BYTES_MAX,
  } as const
  await new Promise<void>((resolve, reject) => {
    execFile(program, args, options, (error) => {
      if (error === null) {
        resolve()
        return
      }
      // Never its message, which holds the whole command line and what it printed: reasons cross the tunnel.
      const how = error.code ?? error.signal ?? 'it could not be run'
      reject(down(`the command failed (${String(how)})`))
    })
  })
}

function down(text: string): PosternError {
  return new PosternError('TARGET_UNREACHABLE', text)
}
