import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemRandom } from '../../src/base/random.ts'
import { GATEWAY_SETTINGS } from '../../src/config/gateway-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { Gateway, type GatewayAddresses } from '../../src/gateway/gateway.ts'
import { initGateway, type InitResult } from '../../src/gateway/init.ts'
import { Records } from '../../src/gateway/records/records.ts'
import { Tokens } from '../../src/gateway/tokens.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { LogRecorder } from './log-recorder.ts'

export const DOMAIN = 'cp.postern.test'

/** A control plane made by `gateway init`, with its listeners on loopback, in this process. */
export class ControlPlane {
  readonly folder = mkdtempSync(join(tmpdir(), 'postern-cp-'))
  readonly log = new LogRecorder()
  init!: InitResult
  addresses!: GatewayAddresses
  gateway!: Gateway

  static async start(flags: Readonly<Record<string, string>> = {}): Promise<ControlPlane> {
    const plane = new ControlPlane()
    plane.init = await initGateway(
      {
        folder: join(plane.folder, 'cp'),
        trustDomain: DOMAIN,
        region: 'eu',
        gateway: 'gw-1',
        dnsNames: ['localhost'],
        keyKind: 'p256',
      },
      Date.now(),
    )
    await plane.startGateway(flags)
    return plane
  }

  async startGateway(flags: Readonly<Record<string, string>> = {}): Promise<void> {
    const listen = ['agents.listen', 'callers.listen', 'enroll.listen', 'enroll.renewListen']
    const { values } = loadSettings(GATEWAY_SETTINGS, {
      flags: { ...Object.fromEntries(listen.map((key) => [key, '127.0.0.1:0'])), ...flags },
      environment: {},
      file: this.init.configFile,
    })
    const ambient = { clock: systemClock, random: systemRandom, logger: this.log }
    this.gateway = new Gateway(values, ambient)
    this.addresses = await this.gateway.start()
  }

  get bundleFile(): string {
    return join(this.folder, 'cp', 'bundle.pem')
  }

  get enrollUrl(): string {
    return `https://localhost:${String(this.addresses.enroll?.port)}`
  }

  get renewUrl(): string {
    return `https://localhost:${String(this.addresses.renew?.port)}`
  }

  /** Works on the store beside the running gateway, as the commands do. */
  async records<T>(act: (records: Records, tokens: Tokens) => Promise<T>): Promise<T> {
    const records = await Records.open(join(this.folder, 'cp', 'records.db'))
    try {
      return await act(records, new Tokens(records, systemRandom))
    } finally {
      await records.close()
    }
  }

  /** A new join token. */
  async token(more: { agent?: string; uses?: number; ttlMs?: number } = {}): Promise<{
    id: string
    token: string
  }> {
    const { agent, uses = 1, ttlMs = 3_600_000 } = more
    const request = { cluster: 'c-1', agent, uses, ttlMs, actor: 'test' }
    return await this.records((_, tokens) => tokens.create(request, Date.now()))
  }

  stop(): void {
    this.gateway.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
