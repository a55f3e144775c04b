import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Agent } from '../../src/agent/agent.ts'
import { Diagnostics, type SealOptions } from '../../src/client.ts'
import type { SealedCluster } from '../../src/caller/sealed-cluster.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import { sealingKey } from './sealing.ts'
import { Stack } from './stack.ts'

export const FIRST_HAND =
  'version: 1\nrules: [{ name: own callers, callers: ["*@first-hand"], methods: ["*"], services: [db], sealed: required }]\n'

/** A stack whose agent takes sealed calls alone, of a caller `console` whose key it has pinned. */
export class SealedStack {
  readonly stack: Stack
  readonly policy: string
  readonly key: ReturnType<typeof sealingKey>
  agent!: Agent
  client!: GatewayClient

  private constructor(stack: Stack) {
    this.stack = stack
    this.policy = join(stack.pki.folder, 'policy.yaml')
    this.key = sealingKey(stack.pki.folder, 'console')
  }

  static async start(
    flags: Readonly<Record<string, string>> = {},
    policy = FIRST_HAND,
  ): Promise<SealedStack> {
    const sealed = new SealedStack(await Stack.start())
    writeFileSync(sealed.policy, policy)
    sealed.agent = await sealed.stack.startAgent({
      allow: '[]',
      'policy.file': sealed.policy,
      'seal.callers': JSON.stringify([{ caller: 'console', pin: sealed.key.pin }]),
      ...flags,
    })
    sealed.client = await sealed.stack.connect()
    return sealed
  }

  get pin(): string {
    return this.agent.report().seal.pin
  }

  /** Sealed calls of the console, but for what is said otherwise. */
  cluster(said: Partial<SealOptions> = {}): SealedCluster {
    return this.client.sealed('c-1', { ...this.key, pins: [this.pin], ...said })
  }

  /** The lines of calls in the agent's record; it is stopped first. */
  lines(): Record<string, unknown>[] {
    this.agent.stop()
    const folder = this.agent.report().guard.record?.directory ?? ''
    const text = readFileSync(join(folder, 'record-00000001.jsonl'), 'utf8')
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((line) => 'caller' in line)
  }

  stop(): void {
    this.stack.stop()
  }
}

/** The bytes that come back for some that are sent. */
export async function echo(cluster: Pick<SealedCluster, 'service'>, text: string): Promise<string> {
  const { payload } = await cluster.service(Diagnostics).echo({ payload: Buffer.from(text) })
  return Buffer.from(payload).toString()
}
