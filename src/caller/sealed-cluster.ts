import type { DescService } from '@bufbuild/protobuf'
import type { Duplex } from 'node:stream'
import { asPosternError, PosternError } from '../base/errors.ts'
import { fileMarks } from '../base/file-marks.ts'
import { readPublicFile } from '../identity/key-files.ts'
import type { Identity } from '../identity/name.ts'
import type { CallOptions, RpcChannel } from '../rpc/channel.ts'
import { rpcErrorOfCode } from '../rpc/status.ts'
import { clientOf, type CallChannel, type Client } from '../rpc/typed.ts'
import { openSealed } from '../seal/open-sealed.ts'
import { readSealingKey, sealedEnd, type SealingFiles } from '../seal/sealing-key.ts'
import { readAuthorities, type SealTrust } from '../seal/trust.ts'
import type { SealedEnd } from '../transport/sealed-tls.ts'
import type { ProcessParts, RpcConnection } from '../tunnel/rpc-connection.ts'
import { joinForward, settled, type Forwarded, type ForwardEnd } from './join-forward.ts'
import { SealedChannel } from './sealed-channel.ts'
import { withinCall } from './within-call.ts'

const OPEN_MS_MAX = 10_000
/** A session whose certificates end so soon takes no more calls: another is made, under those that have been renewed. */
const LEFT_MS_MIN = 60_000
/** Between two that are made for that reason. */
const APART_MS = 30_000
const LOOK_MS = 2000

/** How both ends of sealed calls to one cluster are proven. Files are read anew for each session, and looked at every two seconds. */
export interface SealOptions extends SealingFiles {
  /** Pins of the keys of the cluster's agents, `sha256:HEX`, as `agent seal show` prints them. Default: none. */
  readonly pins?: readonly string[] | undefined
  /** CA of the customer's that certifies the cluster's agents, in PEM, with its CRLs. Default: none. */
  readonly caFile?: string | undefined
}

/** A session that is open, and calls over it. */
interface Open {
  readonly connection: RpcConnection
  readonly channel: RpcChannel
  readonly openedAtMs: number
  /** What the agent has shown, leaf first. */
  readonly chain: readonly Buffer[]
}

/** Calls and forwards to one cluster that no gateway can read or alter. They share a session, which is made at the first, and anew when it has ended. */
export class SealedCluster {
  /** Calls by name and bytes, where there are no generated types. */
  readonly channel: CallChannel
  readonly #outer: RpcChannel
  readonly #cluster: string
  readonly #seal: SealOptions
  readonly #parts: ProcessParts
  #open: Open | undefined
  #opening: Promise<Open> | undefined
  readonly #over = new AbortController()

  /** @internal Made by GatewayClient.sealed. */
  constructor(outer: RpcChannel, cluster: string, seal: SealOptions, parts: ProcessParts) {
    this.#outer = outer
    this.#cluster = cluster
    this.#seal = seal
    this.#parts = parts
    const { clock } = parts.runtime
    this.channel = new SealedChannel(
      () => this.#ready()?.channel,
      async () => (await this.#session()).channel,
      clock,
    )
  }

  /** A typed client of a service, from its generated description. */
  service<S extends DescService>(service: S): Client<S> {
    return clientOf(service, this.channel)
  }

  /** As ClusterClient.forward. */
  forward(service: string, socket: Duplex, options: CallOptions = {}): Promise<Forwarded> {
    return settled(this.offer(service, socket, options))
  }

  /** @internal As `forward`; where `mayRetry` takes the code of a refusal, the local connection is left as it was. */
  async offer(
    service: string,
    socket: Duplex,
    options: CallOptions,
    mayRetry?: (code: PosternError['code']) => boolean,
  ): Promise<ForwardEnd> {
    const { clock } = this.#parts.runtime
    try {
      const { channel } = this.#ready() ?? (await withinCall(this.#session(), options, clock))
      return await joinForward({ channel, clock }, service, socket, options, mayRetry)
    } catch (error) {
      const { code } = asPosternError(error)
      if (mayRetry?.(code) !== true) socket.destroy()
      return { code, bytesIn: 0, bytesOut: 0 }
    }
  }

  /** @internal The connection to the gateway takes no new streams: the session ends with its last call. */
  retire(): void {
    this.#open?.connection.session.goAway('GOING_AWAY', 'the connection to the gateway goes')
  }

  /** Ends the session; calls that still run fail. */
  close(): void {
    this.#over.abort()
    this.#open?.connection.close(new PosternError('SHUTDOWN', 'the caller has finished'))
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted
  }

  /** The session, where it may be used at once. */
  #ready(): Open | undefined {
    const open = this.#open
    if (open?.connection.session.isOpen !== true) return undefined
    const { certificateNotAfterMs: theirs, ownNotAfterMs: ours = Infinity } = open.connection.facts
    const { clock } = this.#parts.runtime
    const endMs = Math.min(theirs, ours)
    if (endMs === Infinity || endMs - clock.wallMs() > LEFT_MS_MIN) return open
    if (clock.nowMs() - open.openedAtMs < APART_MS) return open
    open.connection.session.goAway('GOING_AWAY', 'the caller goes over to another session')
    return undefined
  }

  /** @throws RpcError, which says that nothing was started */
  async #session(): Promise<Open> {
    try {
      return await (this.#opening ??= this.#make().finally(() => {
        this.#opening = undefined
      }))
    } catch (error) {
      const { code, rawMessage } = asPosternError(error)
      throw rpcErrorOfCode(code, rawMessage, true)
    }
  }

  async #make(): Promise<Open> {
    const { signal } = this.#over
    if (signal.aborted) throw new PosternError('SHUTDOWN', 'the caller has finished')
    const end = await this.#end()
    const marks = this.#marks()
    let chain: readonly Buffer[] = []
    const judge = (shown: readonly Buffer[]): ReturnType<SealedEnd['judge']> =>
      end.judge((chain = shown))
    const { certificatePem, keyPem, notAfterMs } = end
    const connection = await openSealed({
      channel: this.#outer,
      cluster: this.#cluster,
      end: { certificatePem, keyPem, notAfterMs, judge },
      process: this.#parts,
      timeoutMs: OPEN_MS_MAX,
    })
    const { clock } = this.#parts.runtime
    const openedAtMs = clock.nowMs()
    const open = { connection, channel: connection.channel(), openedAtMs, chain }
    this.#open = open
    this.#watch(open, marks)
    if (this.#isOver) this.close()
    return open
  }

  /** Looks at the files while a session is open: what they prove no more ends it, and another key of ours makes another. */
  #watch(open: Open, marks: string): void {
    this.#parts.runtime.clock.startTimer(LOOK_MS, () => {
      if (!open.connection.session.isOpen) return
      const seen = this.#marks()
      if (seen === marks) this.#watch(open, marks)
      else
        this.#end().then(
          (end) => {
            this.#judgeAnew(open, end)
            this.#watch(open, seen)
          },
          // They may be half written: they are read again at the next look.
          () => {
            this.#watch(open, marks)
          },
        )
    })
  }

  #judgeAnew({ connection, chain }: Open, end: SealedEnd): void {
    try {
      end.judge(chain)
      connection.session.goAway('GOING_AWAY', 'the caller goes over to another session')
    } catch (error) {
      connection.close(asPosternError(error))
    }
  }

  /** What tells one state of the files from another. */
  #marks(): string {
    const { keyFile, certificateFile, caFile } = this.#seal
    return fileMarks(keyFile, certificateFile, caFile)
  }

  /** @throws SEAL_REFUSED for a trust of nobody, and what reading the files throws */
  async #end(): Promise<SealedEnd> {
    const { caFile, pins = [] } = this.#seal
    const cluster = this.#cluster
    const pinned: Identity = { role: 'agent', trustDomain: '', cluster, agent: '' }
    const authorities =
      caFile === undefined
        ? { roots: [], crls: [] }
        : readAuthorities(readPublicFile(caFile), caFile)
    const trust: SealTrust = { ...authorities, pins: new Map(pins.map((pin) => [pin, pinned])) }
    const { clock } = this.#parts.runtime
    const key = readSealingKey(this.#seal)
    const end = await sealedEnd(
      key,
      () => trust,
      'agent',
      () => clock.wallMs(),
    )
    const judge = (chain: readonly Buffer[]): ReturnType<SealedEnd['judge']> => {
      const peer = end.judge(chain)
      if (peer.identity.role === 'agent' && peer.identity.cluster === cluster) return peer
      throw new PosternError('SEAL_REFUSED', `the other end is no agent of cluster ${cluster}`)
    }
    return {
      certificatePem: end.certificatePem,
      keyPem: end.keyPem,
      notAfterMs: end.notAfterMs,
      judge,
    }
  }
}
