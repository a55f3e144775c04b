/**
 * Installs a generation, and is killed by SIGKILL before the Nth change that it makes to the disk.
 * Arguments: folder, chain, key and bundle files, N. Exits 0 when it came through.
 */
import { createPrivateKey } from 'node:crypto'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const [folder = '', chainFile = '', keyFile = '', bundleFile = '', step = '0'] =
  process.argv.slice(2)
let left = Number(step)

type Call = (...args: unknown[]) => unknown
const table = fs as unknown as Record<string, Call>
for (const name of [
  'mkdirSync',
  'openSync',
  'writeFileSync',
  'fsyncSync',
  'chmodSync',
  'renameSync',
  'symlinkSync',
  'rmSync',
]) {
  const original = table[name] as Call
  table[name] = (...args: unknown[]): unknown => {
    if (--left === 0) process.kill(process.pid, 'SIGKILL')
    return original(...args)
  }
}
const [chainPem, keyPem, bundlePem] = [chainFile, keyFile, bundleFile].map((file) =>
  fs.readFileSync(file, 'utf8'),
)
left = Number(step)
syncBuiltinESMExports()
const { Generations } = await import('../../src/identity/generations.ts')
left = Number(step)
new Generations(folder).install(
  {
    key: createPrivateKey(keyPem ?? ''),
    chainPem: chainPem ?? '',
    keyPem: keyPem ?? '',
    bundlePem: bundlePem ?? '',
  },
  Date.now(),
)
