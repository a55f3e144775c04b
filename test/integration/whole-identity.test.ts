import { expect } from 'chai'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { statusNow } from '../support/status-now.ts'
import { noteStart } from '../../src/agent/control/last-status.ts'
import { PosternError } from '../../src/base/errors.ts'
import { readCredential, type KeyFilePaths } from '../../src/identity/key-files.ts'
import { rejection } from '../support/code-of.ts'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { AGENT } from '../support/pki.ts'
import { runCli } from '../support/run-cli.ts'
import { Stack } from '../support/stack.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const CUT = '-----BEGIN CERTIFICATE-----\nMIIB!!!\n-----END CERTIFICATE-----\n'

describe('an identity from files', function () {
  let stack: Stack
  let files: KeyFilePaths
  beforeEach(async () => {
    stack = await Stack.start()
    const issued = await stack.pki.issue(AGENT)
    files = { ...issued, bundleFile: join(stack.pki.folder, 'agent-bundle.pem') }
    writeFileSync(files.bundleFile, readFileSync(issued.bundleFile))
  })
  afterEach(() => {
    stack.stop()
  })

  const chain = (): string => readFileSync(files.certificateFile, 'utf8')
  const damages: readonly (readonly [string, () => void, RegExp])[] = [
    [
      'a damaged second block in the bundle',
      () => {
        writeFileSync(files.bundleFile, readFileSync(files.bundleFile, 'utf8') + CUT)
      },
      /agent-bundle\.pem: certificate 2 /,
    ],
    [
      'a chain without its intermediate',
      () => {
        writeFileSync(
          files.certificateFile,
          `${chain().split('-----END')[0] ?? ''}-----END CERTIFICATE-----\n`,
        )
      },
      /leads to no root/,
    ],
    [
      'a damaged second block in the chain',
      () => {
        const [leaf = ''] = chain().split('-----END')
        writeFileSync(files.certificateFile, `${leaf}-----END CERTIFICATE-----\n${CUT}`)
      },
      /certificate 2 /,
    ],
    [
      'a bundle without the root',
      () => {
        const { output } = {
          output: execFileSync(
            'openssl',
            [
              'req',
              '-x509',
              '-newkey',
              'ec',
              '-pkeyopt',
              'ec_paramgen_curve:P-256',
              '-nodes',
              '-keyout',
              '/dev/null',
              '-subj',
              '/CN=other',
              '-days',
              '2',
            ],
            { stdio: 'pipe' },
          ),
        }
        writeFileSync(files.bundleFile, output)
      },
      /leads to no root/,
    ],
  ]
  for (const [what, damage, told] of damages)
    it(`with ${what} is taken over by no reload, and by no later dial`, async () => {
      const agent = await stack.dialAgent({}, files)
      await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
      const before = agent.credential
      damage()
      const error = await rejection(agent.reload(), 'CERTIFICATE_UNUSABLE')
      expect(error.message).to.match(told)
      expect(agent.credential).to.equal(before)
      expect(statusNow(agent, Date.now()).reasons.join()).to.match(told)
      // The next dial is made with what is in force.
      await agent.tunnels.replace()
      expect(agent.tunnel.state.name).to.equal('ready')
    })

  it('behind the links of a Kubernetes Secret is read as uid 65532, whatever mode it was given', function () {
    if (process.getuid?.() !== 0) this.skip()
    const mount = mkdtempSync('/dev/shm/postern-secret-')
    try {
      // As the kubelet makes it: tmpfs, sticky and of the group, real files behind ..data.
      chmodSync(mount, 0o3777)
      const data = join(mount, '..2026_11_26')
      mkdirSync(data)
      chownSync(data, 0, 65532)
      chmodSync(data, 0o2755)
      symlinkSync('..2026_11_26', join(mount, '..data'))
      const pairs = {
        'tls.crt': files.certificateFile,
        'tls.key': files.keyFile,
        'ca.crt': files.bundleFile,
      }
      for (const [name, from] of Object.entries(pairs)) {
        writeFileSync(join(data, name), readFileSync(from))
        chownSync(join(data, name), 0, 65532)
        symlinkSync(`..data/${name}`, join(mount, name))
      }
      const script = `
        import { readCredential } from '${ROOT}src/identity/key-files.ts'
        const at = (name) => '${mount}/' + name
        const paths = { certificateFile: at('tls.crt'), keyFile: at('tls.key'), bundleFile: at('ca.crt') }
        process.setgroups([65532]); process.setgid(65534); process.setuid(65532)
        try { console.log(readCredential(paths, 'agent', Date.now()).identity.role) } catch (error) { console.log(error.code) }`
      const read = (): string => {
        const args = ['--input-type=module', '-e', script]
        return spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout.trim()
      }
      for (const mode of [0o440, 0o444, 0o644, 0o640]) {
        for (const name of Object.keys(pairs)) chmodSync(join(data, name), mode)
        expect(read(), mode.toString(8)).to.equal('agent')
      }
      // Writable by a group, or of another group alone, it is what it always was.
      for (const [mode, gid] of [
        [0o660, 65532],
        [0o440, 4242],
      ] as const) {
        chownSync(join(data, 'tls.key'), 0, gid)
        chmodSync(join(data, 'tls.key'), mode)
        expect(read(), mode.toString(8)).to.be.oneOf(['KEY_EXPOSED', 'FILE_UNREADABLE'])
      }
    } finally {
      rmSync(mount, { recursive: true })
    }
  })

  it('of a world-readable file elsewhere is exposed, as ever', () => {
    chmodSync(files.keyFile, 0o644)
    expect(() => readCredential(files, 'agent', Date.now())).to.throw(PosternError, 'KEY_EXPOSED')
  })
})

describe('an enrolled identity', function () {
  let plane: ControlPlane
  beforeEach(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
  })
  afterEach(() => {
    plane.stop()
  })
  const at = (...path: string[]): string => join(plane.stateOf('a-1'), ...path)

  it('is renewed although an empty key lies where the pending one would', async () => {
    const agent = plane.startAgent('a-1')
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
    for (const content of ['', 'garbage', '-----BEGIN PRIVATE KEY-----\n']) {
      mkdirSync(at('pending'), { recursive: true, mode: 0o700 })
      writeFileSync(at('pending/key.pem'), content, { mode: 0o600 })
      await agent.changes.renewal?.renewNow()
    }
    expect(agent.changes.renewal?.succeeded).to.equal(3)
  })

  it('whose present files are empty says which generation is before it', async () => {
    const agent = plane.startAgent('a-1')
    await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
    await agent.changes.renewal?.renewNow()
    agent.stop()
    writeFileSync(at('current/chain.pem'), '')
    expect(() => plane.makeAgent('a-1')).to.throw(
      PosternError,
      `ln -sfn gen-000001 ${at()}current`.replace('a-1current', 'a-1/current'),
    )
  })

  it('that cannot be renewed any more is not healthy, and nothing says that it is being renewed', async () => {
    const copy = plane.startAgent('a-1')
    await eventually(() => copy.tunnel.state.name === 'ready', 'the tunnel is up')
    const original = plane.startAgent('a-1', { 'status.socket': at('other.sock') })
    await eventually(() => original.tunnel.state.name === 'ready', 'the tunnel is up')
    await original.changes.renewal?.renewNow()
    await rejection(copy.changes.renewal?.renewNow() ?? Promise.resolve(), 'CERT_SUPERSEDED')
    const { health, reasons } = statusNow(copy, Date.now())
    expect([health === 'healthy', reasons.join()]).to.satisfy(
      ([isFine, text]: [boolean, string]) => !isFine && text.includes('cannot be renewed'),
      reasons.join(),
    )
  })

  it('whose daemon did not start says why when it is asked', async () => {
    const failed = new PosternError('LISTEN_FAILED', 'the socket is in use')
    noteStart(plane.stateOf('a-1'), failed, Date.now())
    const config = join(plane.folder, 'agent.yaml')
    const settings = {
      state: { directory: plane.stateOf('a-1') },
      status: { socket: at('none.sock') },
    }
    writeFileSync(config, JSON.stringify(settings))
    const args = ['--config', config]
    const text = await runCli('agent', ['status', ...args])
    expect(text.stderr).to.include('[LISTEN_FAILED] the socket is in use')
    const json = JSON.parse((await runCli('agent', ['status', '--json', ...args])).stdout) as {
      failedStart: { code: string }
    }
    expect(json.failedStart.code).to.equal('LISTEN_FAILED')
  })
})

describe('a reload', function () {
  it('changes only what has changed: the log level replaces no tunnel, and no service comes up by it', async () => {
    const stack = await Stack.start()
    try {
      const down = {
        services: JSON.stringify([
          { name: 'web', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' },
        ]),
        probes: JSON.stringify([{ service: 'web', type: 'tcp', interval: '1s' }]),
      }
      const files = await stack.pki.issue(AGENT)
      const agent = await stack.dialAgent(down, files)
      await eventually(() => agent.services.healths[0]?.isDown === true, 'it is seen to be down')
      await eventually(() => agent.tunnel.state.name === 'ready', 'the tunnel is up')
      const { state } = agent.tunnel
      await agent.reload(() => ({ ...agent.settings, 'log.level': 'warn' }))
      expect(agent.tunnel.state).to.equal(state)
      expect(agent.services.healths[0]?.isDown).to.equal(true)
      const allow = [{ caller: 'x', methods: ['*'], services: [] }]
      await agent.reload(() => ({ ...agent.settings, allow }))
      expect(agent.tunnel.state).to.equal(state)
      const probes = agent.settings.probes.map((row) => ({ ...row, intervalMs: 2000 }))
      await agent.reload(() => ({ ...agent.settings, probes }))
      expect(agent.services.healths[0]?.isDown).to.equal(true)
      expect(agent.tunnel.state).to.equal(state)
    } finally {
      stack.stop()
    }
  })
})
