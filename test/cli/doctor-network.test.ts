import { expect } from 'chai'
import { spawn, type ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer as createPlainServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { CheckStep } from '../../src/agent/doctor/certificate-steps.ts'
import { ControlPlane, DOMAIN } from '../support/control-plane.ts'
import { freePort } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'
import { runToolBeside } from '../support/openssl.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const HOUR_MS = 3_600_000

/** Each step is broken for real, and the advice of the program itself is read. */
describe('agent doctor, where the way is broken', function () {
  let plane: ControlPlane
  const servers: Server[] = []
  const children: ChildProcess[] = []

  beforeEach(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
  })
  afterEach(() => {
    plane.stop()
    for (const server of servers.splice(0)) server.close()
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })

  function settingsFor(address: string): string {
    const config = join(plane.folder, 'doctor.yaml')
    const settings = {
      gateway: { address },
      trustDomain: DOMAIN,
      state: { directory: plane.stateOf('a-1') },
    }
    writeFileSync(config, JSON.stringify(settings))
    return config
  }

  async function failuresOf(address: string, before: readonly string[] = []): Promise<CheckStep[]> {
    const words = [
      process.execPath,
      `${ROOT}bin/agent.js`,
      'doctor',
      '--json',
      '--config',
      settingsFor(address),
    ]
    const [program = '', ...args] = [...before, ...words]
    const output = await runToolBeside(program, args)
    const { steps } = JSON.parse(output) as { steps: CheckStep[] }
    return steps.filter(({ outcome }) => outcome === 'FAIL')
  }

  async function listening(server: Server): Promise<string> {
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `localhost:${String((server.address() as AddressInfo).port)}`
  }

  const gatewayTls = () => {
    const { certificatePem: cert, keyPem: key } = plane.gateway.own.credential
    return { cert, key }
  }
  const gatewayAddress = () => `localhost:${String(plane.addresses.agents.port)}`

  function expectFailure(found: readonly CheckStep[], step: string, text: RegExp): void {
    const failure = found.find(({ name }) => name === step)
    expect(failure?.text, JSON.stringify(found)).to.match(text)
    expect(failure?.fix).to.be.a('string').and.not.equal('')
  }

  it('by a network that takes the connection and swallows what follows', async () => {
    const address = await listening(
      createPlainServer((socket) => socket.on('error', () => undefined)),
    )
    expectFailure(await failuresOf(address), 'tls', /DIAL_TIMEOUT.*did not complete the handshake/)
  })

  it('by a server that speaks TLS 1.1 at best', async () => {
    const port = await freePort()
    const [certFile, keyFile] = [join(plane.folder, 'old.pem'), join(plane.folder, 'old.key')]
    writeFileSync(certFile, gatewayTls().cert)
    writeFileSync(keyFile, gatewayTls().key, { mode: 0o600 })
    const old = ['-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0', '-quiet']
    const server = spawn('openssl', [
      's_server',
      '-accept',
      String(port),
      '-cert',
      certFile,
      '-key',
      keyFile,
      ...old,
    ])
    children.push(server)
    await eventually(async () => {
      const found = await failuresOf(`localhost:${String(port)}`)
      return found.some(({ name }) => name === 'tls') ? found : undefined
    }, 'the server listens').then((found) => {
      expectFailure(found, 'tls', /TLS_VERSION/)
    })
  })

  it('by a server that is none of ours: another protocol by ALPN, or none', async () => {
    for (const ALPNProtocols of [['h2'], undefined]) {
      const alpn = ALPNProtocols === undefined ? {} : { ALPNProtocols }
      const server = createServer({ ...gatewayTls(), ...alpn }, (socket) =>
        socket.on('error', () => undefined),
      )
      expectFailure(await failuresOf(await listening(server)), 'tls', /TLS_ALPN/)
    }
  })

  it('by a certificate of ours that has expired', async () => {
    const now = Date.now()
    await plane.plant('a-1', { fromMs: now - 3 * HOUR_MS, toMs: now - HOUR_MS })
    expectFailure(await failuresOf(gatewayAddress()), 'validity', /expired/i)
  })

  it('by a clock that is days behind, or ahead', async () => {
    const behind = await failuresOf(gatewayAddress(), ['faketime', '-f', '-3d'])
    expectFailure(behind, 'validity', /not (yet )?valid|begins|clock/i)
    const ahead = await failuresOf(gatewayAddress(), ['faketime', '-f', '+3d'])
    expectFailure(ahead, 'validity', /expired/i)
  })
})
