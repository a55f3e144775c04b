import { PosternError, asPosternError } from '../../base/errors.ts'
import { Permit, type Ask } from '../../contract/call-guard.ts'
import { Diagnostics } from '../../gen/postern/v1/diagnostics_pb.js'
import type { Identity } from '../../identity/name.ts'
import { refuseStreams } from '../../mux/session-owner.ts'
import { clientOf } from '../../rpc/typed.ts'
import { openSealed } from '../../seal/open-sealed.ts'
import { generateSealingKey, sealedEnd } from '../../seal/sealing-key.ts'
import { loopback } from '../../tunnel/loopback-wire.ts'
import { RpcConnection, type ProcessParts } from '../../tunnel/rpc-connection.ts'
import type { AgentGuard } from '../guard/guard.ts'
import type { AgentSeal } from '../seal/seal.ts'
import type { Services } from '../services/services.ts'
import { notShown, shown, type Experiment } from './experiment.ts'

/** Key of the connection that experiments are made on: no tunnel has it. */
const TUNNEL = 'prove'
const WIDENING =
  'version: 1\nrules: [{ name: everything for everybody, callers: ["*"], methods: ["*"], services: ["*"] }]'
const MS_MAX = 5000

/** The rooms that experiments are made on. */
export interface ProverPorts {
  readonly process: ProcessParts
  readonly guard: AgentGuard
  readonly services: Services
  readonly seal: AgentSeal
  readonly identity: Identity
}

/** Makes experiments on a running agent, of the promises that only it can show. */
export class Prover {
  readonly #ports: ProverPorts

  constructor(ports: ProverPorts) {
    this.#ports = ports
  }

  /** `marker`: a text that occurs nowhere else; it goes through the agent as a relayed call does. */
  async run(marker: string): Promise<readonly Experiment[]> {
    const connections = this.#connect()
    try {
      return [
        this.#widening(),
        await this.#relayed(connections.near, marker),
        await this.#sealing(connections.near),
      ]
    } finally {
      connections.near.close(new PosternError('SHUTDOWN', 'the experiments are over'))
      this.#ports.guard.guard.forget(TUNNEL)
    }
  }

  /** A connection within this process: its calls pass guard, record and server as those of a tunnel do. */
  #connect(): { near: RpcConnection; far: RpcConnection } {
    const { process, services, seal, identity } = this.#ports
    const cluster = identity.role === 'agent' ? identity.cluster : ''
    const [nearWire, farWire] = loopback(process.runtime.clock, identity)
    const origin = {
      callerOf: () => ({ kind: 'operator' }) as const,
      cluster,
      tunnel: TUNNEL,
      sealed: (stream: Parameters<AgentSeal['take']>[0]) => {
        seal.take(stream, origin)
      },
    }
    const ignore = (): void => undefined
    const far = new RpcConnection(farWire, 'acceptor', process, {
      streams: services.server.streamsOf(origin),
      onClosed: ignore,
    })
    const near = new RpcConnection(nearWire, 'dialer', process, {
      streams: refuseStreams('it serves nothing'),
      onClosed: ignore,
    })
    return { near, far }
  }

  #widening(): Experiment {
    const [name, promise] = ['widening', 'the control plane cannot widen the policy']
    const { guard } = this.#ports.guard
    const before = guard.policy
    let text: string
    try {
      const push = this.#ports.guard.narrow(TUNNEL, 'agent prove', WIDENING)
      text = `a push that allows everything would widen by ${push.widening.map((one) => JSON.stringify(one.name)).join(', ')}`
      if (push.widening.length === 0)
        text = 'a push that allows everything adds nothing to the policy'
    } catch (error) {
      text = asPosternError(error).rawMessage
    }
    const stranger: Ask = {
      caller: { kind: 'service', name: 'nobody-known-by-that-name', known: 'gateway' },
      ...{ name: 'nobody.v1.Nothing/Offers', kind: 'unary', declared: undefined, data: undefined },
      ...{ sealed: false, gateway: '', region: '', tunnel: TUNNEL },
    }
    const isUnchanged = guard.policy === before
    const allows = guard.policy.rules.some(
      ({ callers, methods }) => callers.some((one) => one.text === '*') && methods.includes('*'),
    )
    const denied = allows || !Permit.is(guard.decide(stranger))
    return shown(name, promise, isUnchanged && denied, `${text}: recorded, the rules are as before`)
  }

  async #relayed(near: RpcConnection, marker: string): Promise<Experiment> {
    const [name, promise] = ['relayed', 'what is relayed is not kept']
    const payload = Buffer.from(marker)
    try {
      await ready(near, this.#ports.process)
      const echo = clientOf(Diagnostics, near.channel())
      const answer = await echo.echo({ payload }, { timeoutMs: MS_MAX })
      const isSame = Buffer.from(answer.payload).equals(payload)
      return shown(name, promise, isSame, 'a marker went through guard, record and server')
    } catch (error) {
      return notShown(name, promise, `the marker did not go through: ${(error as Error).message}`)
    }
  }

  async #sealing(near: RpcConnection): Promise<Experiment> {
    const [name, promise] = ['sealing', 'the relay cannot read or forge sealed calls']
    const { seal, process, identity } = this.#ports
    const { pin, pins, authorities } = seal.report()
    const who = `callers known first-hand: ${String(pins)} by pin, ${String(authorities)} CAs of the customer's`
    if (pins + authorities === 0)
      return notShown(
        name,
        promise,
        'no caller is known first-hand: seal.callers, seal.callerCaFile',
      )
    const cluster = identity.role === 'agent' ? identity.cluster : ''
    const { clock } = process.runtime
    const trust = { pins: new Map([[pin, identity]]), roots: [], crls: [] }
    const end = await sealedEnd(
      generateSealingKey(),
      () => trust,
      'agent',
      () => clock.wallMs(),
    )
    const timeoutMs = MS_MAX
    try {
      const opened = await openSealed({
        channel: near.channel(cluster),
        cluster,
        end,
        process,
        timeoutMs,
      })
      opened.close(new PosternError('SHUTDOWN', 'the experiment is over'))
      return shown(name, promise, false, 'a key that nobody vouches for was let in')
    } catch (error) {
      const { code } = asPosternError(error)
      const evidence = `inner TLS 1.3 to key ${pin}; a key that nobody vouches for was refused: ${code}; ${who}`
      return code === 'SEAL_REFUSED'
        ? shown(name, promise, true, evidence)
        : notShown(name, promise, `a key that nobody vouches for came no further than ${code}`)
    }
  }
}

async function ready({ session }: RpcConnection, { runtime }: ProcessParts): Promise<void> {
  const endMs = runtime.clock.nowMs() + MS_MAX
  while (!session.isReady && runtime.clock.nowMs() < endMs)
    await new Promise<void>((resolve) => {
      runtime.clock.soon(resolve)
    })
}
