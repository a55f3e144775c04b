import type { Clock } from '../base/clock.ts'
import { pause } from '../base/pause.ts'
import type { GatewaySettings } from '../config/gateway-settings.ts'
import type { Credential } from '../identity/key-files.ts'
import type { Rooms } from './compose.ts'
import type { GatewayAddresses } from './listening.ts'

/** How long callers of the API have to hear that a gateway leaves, in ms. */
const LEAVE_MS = 1200
/** How long the last calls have to be told that they are over, in ms. */
const TELL_MS = 1000
const LOOK_MS = 20

type DoorRooms = Pick<Rooms, 'listeners' | 'fronts' | 'enrolment' | 'api' | 'proxies'>

/** All ways into a gateway, which open, take over a certificate and shut together. */
export class Doors {
  readonly #rooms: DoorRooms

  constructor(rooms: DoorRooms) {
    this.#rooms = rooms
  }

  /** Resolves to the addresses bound. @throws LISTEN_FAILED */
  async open(): Promise<GatewayAddresses> {
    const { listeners, enrolment, api } = this.#rooms
    const joining = await enrolment?.listen()
    const [forAgents, forCallers] = listeners
    const [agents, callers] = [await forAgents.listen(), await forCallers.listen()]
    return { agents, callers, ...(await api.listen()), ...joining }
  }

  /** Judges settings before they are taken. @throws what reading the certificate of the API throws */
  judge(settings: GatewaySettings): void {
    this.#rooms.api.judge(settings)
  }

  /** Whether an answer is still on its way to a caller of the API. */
  get isBusy(): boolean {
    return this.#rooms.api.isBusy
  }

  /** Who comes from now on sees this certificate. @throws what reading that of the API throws */
  use(credential: Credential, settings: GatewaySettings): void {
    this.#rooms.proxies.use(settings.trustedProxies)
    for (const listener of this.#rooms.listeners) listener.use(credential)
    this.#rooms.api.use(settings)
    this.#rooms.enrolment?.useCredential()
  }

  /** Lets nobody in any more; who is in stays. */
  shut(): void {
    for (const listener of this.#rooms.listeners) listener.close()
    this.#rooms.api.drain()
    this.#rooms.fronts.stop()
  }

  /** The same; callers of the API hear of it first, and go elsewhere while their calls still come through. */
  async shutSoftly(clock: Clock): Promise<void> {
    const { connections } = this.#rooms.api.report()
    this.shut()
    if (connections > 0) await pause(clock, LEAVE_MS)
  }

  /** Calls of the API that still run fail, and their callers have a moment to hear of it. */
  async endCalls(clock: Clock): Promise<void> {
    this.#rooms.api.endCalls()
    for (let waitedMs = 0; this.isBusy && waitedMs < TELL_MS; waitedMs += LOOK_MS)
      await pause(clock, LOOK_MS)
  }

  /** Ends what is not over yet, too. */
  close(): void {
    this.shut()
    this.#rooms.api.close()
    this.#rooms.enrolment?.close()
  }
}
