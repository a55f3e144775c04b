import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median, sleep } from './measure.ts'
import type { Rig } from './rig.ts'
import { ratioRow, type Pace, type Row } from './row.ts'

const SSHD = '/usr/sbin/sshd'

/** forward: one TCP connection through `gateway forward`, against the same through `ssh -R`. */
export async function forwardRows(rig: Rig, pace: Pace): Promise<Row[]> {
  if (!existsSync(SSHD)) {
    console.error('forward: left out, as sshd is not installed (Debian: openssh-server)')
    return []
  }
  const source = await rig.worker('tcp-load')
  const sourcePort = await source.call<number>('pour')
  const services = JSON.stringify([
    {
      name: 'source',
      target: `tcp://127.0.0.1:${String(sourcePort)}`,
      dataType: 'service-traffic',
    },
  ])
  const allow = JSON.stringify([{ caller: '*', methods: [], services: ['source'] }])
  const { ports } = await rig.tunnel({ agentFlags: { services, allow } })
  const forward = await startForward(rig, ports.callers)
  const ssh = await startSsh(rig, sourcePort)
  const reader = await rig.worker('tcp-load')
  const ours: number[] = []
  const theirs: number[] = []
  for (let round = 0; round < pace.rounds; round++) {
    ours.push(await reader.call<number>('drink', { port: forward.port, seconds: pace.seconds }))
    theirs.push(await reader.call<number>('drink', { port: ssh.port, seconds: pace.seconds }))
  }
  for (const child of [forward.child, ...ssh.children]) child.kill('SIGTERM')
  await rig.stopAll()
  return [
    ratioRow({
      id: 'forward',
      what: 'gateway forward, one TCP connection',
      value: median(ours),
      unit: 'MB/s',
      reference: median(theirs),
      referenceWhat: 'ssh -R',
      atLeast: 1,
    }),
  ]
}

async function startForward(
  rig: Rig,
  callerPort: number,
): Promise<{ port: number; child: ChildProcess }> {
  const program = fileURLToPath(new URL('../bin/gateway.js', import.meta.url))
  const settings = {
    'gateway-address': `127.0.0.1:${String(callerPort)}`,
    'gateway-server-name': 'localhost',
  }
  const files = rig.files('caller')
  const identity = {
    'identity-certificate-file': files.certificateFile,
    'identity-key-file': files.keyFile,
    'identity-bundle-file': files.bundleFile,
    'trust-domain': 'bench.postern.test',
  }
  const flags = Object.entries({ ...settings, ...identity }).flatMap(([name, value]) => [
    `--${name}`,
    value,
  ])
  const child = spawn(
    process.execPath,
    [program, 'forward', 'bench', 'source', '--json', ...flags],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (chunk: Buffer) => {
      resolve(chunk.toString())
    })
    child.once('exit', (code) => {
      reject(new Error(`gateway forward ended with ${String(code)}`))
    })
  })
  return { port: (JSON.parse(line) as { port: number }).port, child }
}

/** An sshd of our own with throw-away keys, and an `ssh -R` into it. */
async function startSsh(
  rig: Rig,
  targetPort: number,
): Promise<{ port: number; children: ChildProcess[] }> {
  const path = (name: string): string => join(rig.folder, name)
  for (const name of ['host_key', 'user_key'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path(name)])
  writeFileSync(path('authorized_keys'), readFileSync(path('user_key.pub')), { mode: 0o600 })
  const [sshPort, port] = [await freePort(), await freePort()]
  const settings = [
    'ListenAddress 127.0.0.1',
    `Port ${String(sshPort)}`,
    `HostKey ${path('host_key')}`,
    `AuthorizedKeysFile ${path('authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'PidFile none',
    'PermitRootLogin prohibit-password',
    'AllowTcpForwarding yes',
  ]
  writeFileSync(path('sshd_config'), `${settings.join('\n')}\n`)
  if (userInfo().uid === 0) execFileSync('mkdir', ['-p', '/run/sshd'])
  const server = spawn(SSHD, ['-D', '-e', '-f', path('sshd_config')], { stdio: 'ignore' })
  await sleep(500)
  const options = [
    'StrictHostKeyChecking=no',
    `UserKnownHostsFile=${path('known_hosts')}`,
    'ExitOnForwardFailure=yes',
    'LogLevel=ERROR',
  ].flatMap((option) => ['-o', option])
  const client = spawn(
    'ssh',
    [
      '-N',
      '-i',
      path('user_key'),
      '-p',
      String(sshPort),
      ...options,
      '-R',
      `127.0.0.1:${String(port)}:127.0.0.1:${String(targetPort)}`,
      `${userInfo().username}@127.0.0.1`,
    ],
    { stdio: 'inherit' },
  )
  await sleep(1500)
  return { port, children: [client, server] }
}

async function freePort(): Promise<number> {
  return await new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => {
        resolve(port)
      })
    })
  })
}
