import { PosternError, asPosternError } from '../../base/errors.ts'
import { Diagnostics } from '../../gen/postern/v1/diagnostics_pb.js'
import type { AgentSettings } from '../../config/agent-settings.ts'
import type { Credential } from '../../identity/key-files.ts'
import type { Caller } from '../../contract/caller.ts'
import type { MuxStream } from '../../mux/stream.ts'
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
import { gatewayExperiments } from './gateway-experiments.ts'
import { lockdownExperiment, wideningExperiment } from './policy-experiments.ts'

/** Key of the connection that experiments are made on: no tunnel has it. */
const TUNNEL = 'prove'
const MS_MAX = 5000

/** The rooms that experiments are made on. */
export interface ProverPorts {
  readonly settings: AgentSettings
  readonly process: ProcessParts
  readonly guard: AgentGuard
  readonly services: Services
  readonly seal: AgentSeal
  readonly credential: () => Credential
}

/** Makes experiments on a running agent, of the promises that only it can show. */
export class Prover {
  readonly #ports: ProverPorts

  constructor(ports: ProverPorts) {
    this.#ports = ports
  }

  /** `marker`: a text that occurs nowhere else; it goes through the agent as a relayed call does. */
  async run(marker: string, withLockdown: boolean): Promise<readonly Experiment[]> {
    const { settings, guard, credential, process } = this.#ports
    const { clock } = process.runtime
    const atTheGateway = await gatewayExperiments(settings, credential(), clock.wallMs())
    const connections = this.#connect()
    const { near } = connections
    const call = async (): Promise<string | undefined> => await this.#call(near, marker)
    const stateDirectory = settings['state.directory']
    try {
      return [
        ...atTheGateway,
        wideningExperiment(guard, TUNNEL),
        await this.#relayed(call),
        await this.#sealing(near),
        ...(withLockdown
          ? [await lockdownExperiment({ guard, clock, stateDirectory, marker, call })]
          : []),
      ]
    } finally {
      connections.near.close(new PosternError('SHUTDOWN', 'the experiments are over'))
      guard.guard.forget(TUNNEL)
      // Whoever asked reads the record next.
      guard.flushRecord()
    }
  }

  /** A connection within this process: its calls pass guard, record and server as those of a tunnel do. */
  #connect(): { near: RpcConnection; far: RpcConnection } {
    const { process, services, seal, credential } = this.#ports
    const { identity } = credential()
    const cluster = identity.role === 'agent' ? identity.cluster : ''
    const [nearWire, farWire] = loopback(process.runtime.clock, identity)
    const origin = {
      callerOf: () => ({ kind: 'operator' }) as const,
      cluster,
      tunnel: TUNNEL,
      sealed: (...[stream, caller]: readonly [MuxStream, Caller]) => {
        seal.take(stream, origin, caller)
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

  /** Sends a marker through the agent and back. Returns why it did not come back. */
  async #call(near: RpcConnection, marker: string): Promise<string | undefined> {
    const payload = Buffer.from(marker)
    try {
      await ready(near, this.#ports.process)
      const echo = clientOf(Diagnostics, near.channel())
      const answer = await echo.echo({ payload }, { timeoutMs: MS_MAX })
      return Buffer.from(answer.payload).equals(payload) ? undefined : 'it came back as another'
    } catch (error) {
      return (error as Error).message
    }
  }

  async #relayed(call: () => Promise<string | undefined>): Promise<Experiment> {
    const [name, promise] = ['relayed', 'what is relayed is not kept']
    const fault = await call()
    if (fault !== undefined)
      return notShown(name, promise, `the marker did not go through: ${fault}`)
    return shown(name, promise, true, 'a marker went through guard, record and server')
  }

  async #sealing(near: RpcConnection): Promise<Experiment> {
    const [name, promise] = ['sealing', 'the relay cannot read or forge sealed calls']
    const { seal, process, credential } = this.#ports
    const { identity } = credential()
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
    const stranger = generateSealingKey()
    const end = await sealedEnd(
      stranger,
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
      const { code, rawMessage } = asPosternError(error)
      // The agent's own word names the key that it refused.
      const isRefused = code === 'SEAL_REFUSED' && rawMessage.includes(stranger.pin)
      const evidence = `inner TLS 1.3 to key ${pin}; a key that nobody vouches for was refused: ${code}; ${who}`
      return isRefused
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
