import { expect } from 'chai'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import { ControlPlane } from './control-plane.ts'
import { eventually } from './eventually.ts'

export interface CaStatus {
  readonly phase: string
  readonly bundleVersion: number
  readonly pins: readonly string[]
  readonly stragglers: readonly { readonly identity: string; readonly reason: string }[]
}

/** The steps of `gateway ca` on a control plane, as a person would take them. */
export class CaSteps {
  readonly plane: ControlPlane

  private constructor(plane: ControlPlane) {
    this.plane = plane
  }

  static async start(): Promise<CaSteps> {
    return new CaSteps(await ControlPlane.start({ 'ca.renewSpread': '1s' }))
  }

  get root(): string {
    return join(this.plane.folder, 'cp/root')
  }

  get newRoot(): string {
    return join(this.plane.folder, 'new-root')
  }

  /** Folder of a generation, within ca.directory; the first is ca.directory itself. */
  folderOf(id: number): string {
    const folder = join(this.plane.folder, 'cp/ca')
    const name = readdirSync(folder).find((one) => one.startsWith(`generation-${String(id)}-`))
    return join(folder, name ?? '')
  }

  /** Takes one, and returns where the change then stands. */
  readonly ca = async (...args: readonly string[]): Promise<CaStatus> => {
    const { status, stdout, stderr } = await this.plane.command('ca', ...args, '--json')
    if (status !== 0) throw new Error(stderr)
    return JSON.parse(stdout) as CaStatus
  }

  /** Waits until the gateway that runs has seen what was taken: it looks a few times a second. */
  async seen(): Promise<void> {
    await eventually(async () => {
      const rows = await this.plane.records(({ database }) =>
        database.selectFrom('authorities').select(['id', 'phase']).orderBy('id').execute(),
      )
      const text = (all: readonly { id: number; phase: string }[]): string =>
        all.map(({ id, phase }) => `${String(id)} ${phase}`).join()
      const known = [...(this.plane.gateway.ca?.authorities.rows ?? [])]
      return text(known.sort((a, b) => a.id - b.id)) === text(rows)
    }, 'the gateway has seen the CAs')
  }

  /** Expects one to be refused, and returns why. */
  readonly refused = async (...args: readonly string[]): Promise<string> => {
    const { status, stderr } = await this.plane.command('ca', ...args)
    expect([status, stderr]).to.satisfy(
      ([exit, text]: [number, string]) => exit === 1 && text.includes('[CA_STEP_REFUSED]'),
      stderr,
    )
    return stderr
  }

  /** Waits until the next step would cut nobody off. */
  async whenReady(): Promise<CaStatus> {
    return await eventually(async () => {
      const found = await this.ca('status')
      return found.stragglers.length === 0 ? found : undefined
    }, 'nobody is left behind')
  }
}

export async function isUp({ tunnel }: Agent): Promise<void> {
  await eventually(() => tunnel.state.name === 'ready', 'the tunnel is up')
}
