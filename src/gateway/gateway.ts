import { PosternError } from '../base/errors.ts'
import type { GatewaySettings } from '../config/gateway-settings.ts'
import { protectionOf } from '../identity/passphrase.ts'
import { testMutualTls } from '../transport/self-test.ts'
import { processParts, type Ambient } from '../tunnel/process-parts.ts'
import type { RpcConnection } from '../tunnel/rpc-connection.ts'
import { Access, connectedBy, type Connected } from './access/access.ts'
import { placesToTell } from './agents/agents.ts'
import { type IssuedReport, OwnIdentity, reportIssued } from './ca/ca.ts'
import type { Ground, Rooms } from './compose.ts'
import { connectedRooms } from './connect-rooms.ts'
import type { GatewayReport, GatewayRooms } from './control/control.ts'
import { Doors } from './doors.ts'
import { drainConnections } from './drain.ts'
import { listening, type GatewayAddresses } from './listening.ts'
import { reloaded } from './reloadable.ts'
import { reportRooms } from './report-rooms.ts'

/** The control-plane end: takes tunnels from agents, and calls from services, and joins them. */
export class Gateway implements GatewayRooms {
  readonly parts: Ground['parts']
  readonly own: Ground['own']
  readonly access: Ground['access']
  readonly ca: Rooms['ca']
  readonly enrolment: Rooms['enrolment']
  readonly registry: Rooms['registry']
  readonly callers: Rooms['callers']
  readonly #ambient: Ambient
  readonly #rooms: Rooms
  readonly #doors: Doors
  #settings: GatewaySettings
  #isDraining = false

  private constructor(ground: Ground) {
    const rooms = connectedRooms(ground)
    this.#ambient = ground.ambient
    this.#settings = ground.settings
    this.#rooms = rooms
    this.#doors = new Doors(rooms)
    this.parts = ground.parts
    this.own = ground.own
    this.access = ground.access
    this.ca = rooms.ca
    this.enrolment = rooms.enrolment
    this.registry = rooms.registry
    this.callers = rooms.callers
    this.#tell()
  }

  /** Opens the store and reads the CAs. @throws CONFIG_INVALID, RECORDS_UNUSABLE, RUNTIME_UNSUPPORTED, and what reading the identity and the CAs throws */
  static async open(settings: GatewaySettings, ambient: Ambient): Promise<Gateway> {
    const own = new OwnIdentity(settings, protectionOf(settings), ambient.clock)
    const parts = processParts(settings, ambient)
    const access = await Access.ofSettings(settings, ambient)
    try {
      const gateway = new Gateway({ settings, ambient, own, parts, access })
      await gateway.#rooms.roles.book.refresh()
      await gateway.enrolment?.prepare()
      return gateway
    } catch (error) {
      await access?.close()
      throw error
    }
  }

  /** Resolves to the addresses bound. @throws LISTEN_FAILED */
  async start(): Promise<GatewayAddresses> {
    try {
      const { clock, logger } = this.#ambient
      if (!(await testMutualTls(this.own.credential, clock)))
        logger.warn({}, 'our own trust bundle does not vouch for us')
      const bound = await this.#doors.open()
      this.access?.start()
      this.#rooms.fronts.use(this.#settings['agents.fronts'])
      logger.info(listening(bound), 'gateway is listening')
      return bound
    } catch (error) {
      this.stop()
      throw error
    }
  }

  get settings(): GatewaySettings {
    return this.#settings
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  report(): GatewayReport {
    return reportRooms(this.#rooms, this, this.#settings)
  }

  async reportIssued(nowMs: number): Promise<IssuedReport | undefined> {
    return this.access && (await reportIssued(this.access.records.database, nowMs))
  }

  get connected(): Connected[] {
    return this.#connections().flatMap(({ facts }) => connectedBy(facts) ?? [])
  }

  /** Takes the identity's files as they are now, and what agents are told of gateways. @throws what reading them throws; nothing changes then */
  reload(next: GatewaySettings = this.#settings): void {
    const settings = reloaded(this.#settings, next)
    const protection = protectionOf(settings)
    this.#doors.judge(settings)
    this.own.reload(protection)
    this.#settings = settings
    this.#tell()
    this.ca?.issuer.useJwtRows(next['enroll.jwt'])
    this.callers.useRoles(next['callers.roles'])
    this.#rooms.fronts.use(next['agents.fronts'])
    this.ca?.authorities.use(protection)
    this.#doors.use(this.own.credential, this.#settings)
  }

  /** No new calls and tunnels; running calls finish, up to the grace of `drain.grace`. */
  async drain(): Promise<void> {
    this.#isDraining = true
    await this.#doors.shutSoftly(this.#ambient.clock)
    const { agents, callers } = this.#rooms
    const all = [[...agents.connections], [...callers.connections]] as const
    await drainConnections(...all, this.#settings, this.#ambient.clock, () => this.#doors.isBusy)
    await this.#doors.endCalls(this.#ambient.clock)
    // Who went with us, and that they went: a store that fails has said so.
    await this.#rooms.book?.write().catch(() => undefined)
    this.stop()
  }

  /** Stops at once. */
  stop(): void {
    this.#doors.close()
    this.#rooms.canary.stop()
    for (const connection of this.#connections())
      connection.close(new PosternError('SHUTDOWN', 'the gateway is stopping'))
    void this.access?.close()
  }

  #tell(): void {
    this.#rooms.agents.tellOf(placesToTell(this.#settings, this.own.credential.identity.gateway))
  }

  #connections(): RpcConnection[] {
    return [...this.#rooms.agents.connections, ...this.callers.connections]
  }
}
export type { GatewayAddresses } from './listening.ts'
