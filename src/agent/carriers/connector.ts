import type { Duplex } from 'node:stream'
import { addressText, type Address } from '../../base/address.ts'
import { PosternError, asPosternError } from '../../base/errors.ts'
import { LogLimiter } from '../../base/log-limiter.ts'
import { pause } from '../../base/pause.ts'
import { Inlet, type OwnerOf } from '../../carrier/carrier.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { readSecretFile } from '../../identity/key-files.ts'
import { makeFolder } from '../../identity/state-files.ts'
import { backoffMs } from '../../tunnel/backoff.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import ipaddr from 'ipaddr.js'
import { Child } from './child.ts'
import { EdgeView } from './edge-view.ts'
import type { LogLine } from './log-lines.ts'
import { dieWithParent, endOrphan } from './orphans.ts'
import { judgeProgram, type Program } from './program.ts'
import { metricsOf, readinessOf } from './readiness.ts'
import { hasSocket } from './socket-owner.ts'

const BACKOFF = { minMs: 1000, maxMs: 60_000 }
const LOOK_MS = 1000
/** Of the time for a dial, what is waited for a gateway to come. */
const WAIT_SHARE = 0.75
const ARRIVED_APART_MS = 2000
/** Ready for so long, one that ends is started again from the first step of the back-off. */
const STABLE_MS = 60_000
/** It says that it is ready, and no gateway has come for so long, nor is one there: the way may be cut, which it sees last. */
const UNUSED_MS = 150_000
const UNUSED_MS_MAX = 3_600_000

/** How the cloudflared that the agent supervises is. Times in wall-clock ms. */
export interface ConnectorReport {
  readonly state: 'starting' | 'ready' | 'not-ready' | 'waiting' | 'stopped'
  readonly sinceMs: number
  readonly reason: string | undefined
  readonly path: string
  readonly version: string
  readonly pinned: boolean
  readonly pid: number
  /** Of cloudflared.listen, as it was bound. */
  readonly port: number
  readonly connections: number
  readonly locations: readonly string[]
  readonly protocol: string
  readonly starts: number
  readonly waiting: number
  readonly refused: number
  readonly errors: readonly { readonly atMs: number; readonly text: string }[]
}

type OwnEnd = Parameters<OwnerOf>[0]

/** Supervises a cloudflared, and takes what gateways dial through it. */
export class Connector {
  readonly #settings: AgentSettings
  readonly #ambient: Ambient
  readonly #log: LogLimiter
  readonly #inlet: Inlet
  readonly #stop = new AbortController()
  #address: Address
  #program: Program | undefined
  #child: Child | undefined
  #view = new EdgeView()
  #state: ConnectorReport['state'] = 'stopped'
  #sinceMs = 0
  /** Why it was last not there; undefined since it is. */
  #failure: PosternError | undefined
  #reason: string | undefined
  #toldAtMs = Number.NEGATIVE_INFINITY
  #connections = 0
  #starts = 0
  #isListening = false
  /** Of the process that runs. */
  #wasReady = false
  /** Grows with each cloudflared that was ready and that nobody used. */
  #unusedMs = UNUSED_MS
  #attempt = 0
  /** How the last start came to nothing: the next takes the other protocol. */
  #isHttp2Next = false
  #done: Promise<void> = Promise.resolve()

  /** `onArrived`: a gateway has come, and nobody waits for it. */
  constructor(settings: AgentSettings, ambient: Ambient, onArrived: () => void) {
    this.#settings = settings
    const logger = ambient.logger.child({ component: 'cloudflared' })
    this.#ambient = { ...ambient, logger }
    this.#log = new LogLimiter(logger, ambient.clock)
    this.#address = settings['cloudflared.listen']
    const isOurs = ({ remoteAddress = '', remotePort = 0 }: OwnEnd): boolean | undefined => {
      const pid = this.#child?.pid ?? 0
      return pid === 0 ? false : hasSocket(pid, { host: remoteAddress, port: remotePort })
    }
    this.#inlet = new Inlet(isOurs, () => {
      const nowMs = ambient.clock.nowMs()
      if (nowMs - this.#toldAtMs < ARRIVED_APART_MS) return
      this.#toldAtMs = nowMs
      onArrived()
    })
  }

  start(): void {
    this.#done = this.#run()
  }

  /** Where gateways come out, for people. */
  get address(): Address {
    return this.#address
  }

  /** The next connection of a gateway. @throws CONNECTOR_IDLE, CONNECTOR_MISSING, CONNECTOR_FAILED */
  async open(signal: AbortSignal): Promise<Duplex> {
    if (this.#failure !== undefined && this.#state === 'waiting') throw this.#whyNot(this.#failure)
    // The dial has a bound of its own, and says nothing of us where that passes.
    const late = new AbortController()
    const waitMs = this.#settings['tunnel.dialTimeout'] * WAIT_SHARE
    const cancelTimer = this.#ambient.clock.startTimer(waitMs, () => {
      late.abort()
    })
    try {
      return await this.#inlet.take(AbortSignal.any([signal, late.signal]))
    } catch (error) {
      const failure = this.#failure
      if (failure === undefined) throw error
      throw this.#whyNot(failure)
    } finally {
      cancelTimer()
    }
  }

  #whyNot({ code, rawMessage }: PosternError): PosternError {
    return new PosternError(code, `cloudflared: ${rawMessage}`)
  }

  /** Its own metrics, as text. */
  async metrics(): Promise<string> {
    return await metricsOf(this.#view.metricsPort)
  }

  /** Ends it as it wants to be ended: without streams, by SIGTERM, and by SIGKILL after the grace. */
  async drain(): Promise<void> {
    this.#stop.abort()
    this.#inlet.close()
    await this.#done
  }

  /** Stops at once. */
  stop(): void {
    this.#stop.abort()
    this.#inlet.close()
    this.#child?.kill('SIGKILL')
  }

  report(): ConnectorReport {
    const { errors, locations, protocol } = this.#view
    return {
      state: this.#state,
      sinceMs: this.#sinceMs,
      reason: this.#reason,
      path: this.#program?.path ?? this.#settings['cloudflared.path'] ?? '',
      version: this.#program?.version ?? '',
      pinned: this.#program?.isPinned ?? false,
      pid: this.#child?.pid ?? 0,
      port: this.#address.port,
      connections: this.#connections,
      ...{ locations, protocol, errors },
      starts: this.#starts,
      waiting: this.#inlet.waiting,
      refused: this.#inlet.refused,
    }
  }

  async #run(): Promise<void> {
    const { clock, random, logger } = this.#ambient
    const { signal } = this.#stop
    const isOver = (): boolean => signal.aborted
    if (endOrphan(this.#settings['state.directory']))
      logger.warn({}, 'ended a cloudflared that an earlier run has left over')
    while (!isOver()) {
      try {
        await this.#life()
      } catch (error) {
        this.#failure = asPosternError(error, 'CONNECTOR_FAILED')
        const { code, rawMessage: reason } = this.#failure
        this.#reason = reason
        if (!isOver()) this.#log.warn('life', { code, reason }, 'cloudflared is not there')
      }
      this.#connections = 0
      if (isOver()) break
      this.#enter('waiting')
      await pause(clock, BACKOFF.minMs / 2 + backoffMs(this.#attempt++, BACKOFF, random), signal)
    }
    this.#enter('stopped')
  }

  /** One process, from its start to its end. @throws why it ended, and what judging throws */
  async #life(): Promise<void> {
    const settings = this.#settings
    const { 'cloudflared.path': path, 'cloudflared.sha256': pin } = settings
    const isOver = (): boolean => this.#stop.signal.aborted
    this.#program = await judgeProgram(path, pin, settings['state.directory'])
    if (isOver()) return
    if (!this.#isListening) {
      this.#address = await this.#inlet.listen(this.#address)
      this.#isListening = true
    }
    if (isOver()) return
    const { promise: ended, resolve: onExit } = Promise.withResolvers<string>()
    this.#view = new EdgeView()
    this.#enter('starting')
    this.#starts++
    const child = this.#spawn(this.#program, onExit)
    this.#child = child
    this.#ambient.logger.info({ version: this.#program.version }, 'cloudflared is started')
    const watching = new AbortController()
    let reason: string
    try {
      const verdict = this.#watch(AbortSignal.any([watching.signal, this.#stop.signal]))
      reason = await Promise.race([ended, verdict])
    } finally {
      watching.abort()
      await this.#end(child, ended)
      this.#child = undefined
    }
    if (isOver()) return
    if (!this.#wasReady && this.#view.hasQuicFailed) this.#isHttp2Next = true
    throw new PosternError(
      'CONNECTOR_FAILED',
      this.#verdict(this.#wasReady) ?? this.#explained(reason),
    )
  }

  #spawn({ runs: path }: Program, onExit: (reason: string) => void): Child {
    const settings = this.#settings
    const folder = settings['state.directory']
    makeFolder(folder)
    return new Child({
      ...{ path, folder, onExit, ingress: this.#address, clock: this.#ambient.clock },
      wrapper: dieWithParent(),
      tokenFile: settings['cloudflared.tokenFile'] ?? '',
      protocol: this.#protocol(),
      graceMs: settings['cloudflared.grace'],
      onLine: (line) => {
        this.#heard(line)
      },
    })
  }

  #protocol(): 'quic' | 'http2' | undefined {
    const wanted = this.#settings['cloudflared.protocol']
    if (wanted !== 'auto') return wanted
    return this.#isHttp2Next ? 'http2' : undefined
  }

  #heard(line: LogLine): void {
    const { clock, logger } = this.#ambient
    const isWrong = this.#view.take(line, clock.wallMs())
    const isOver = this.#stop.signal.aborted
    if (isWrong && !isOver) this.#log.warn('line', { reason: line.text }, 'cloudflared says')
    else logger.debug({ reason: line.text }, 'cloudflared says')
  }

  /** Looks at it once a second. Resolves to why it is to be replaced. */
  async #watch(signal: AbortSignal): Promise<string> {
    const { clock } = this.#ambient
    const settings = this.#settings
    let goodAtMs = clock.nowMs()
    let usedAtMs = clock.nowMs()
    this.#wasReady = false
    const isOver = (): boolean => signal.aborted
    while (!isOver()) {
      await pause(clock, LOOK_MS, signal)
      const { isReady, connections, reason } = await readinessOf(this.#view.metricsPort)
      if (isOver()) break
      const nowMs = clock.nowMs()
      this.#connections = connections
      const isUsed = this.#inlet.taken > 0
      if (isUsed || this.#inlet.waiting > 0) usedAtMs = nowMs
      if (isUsed) this.#unusedMs = UNUSED_MS
      const verdict = this.#verdict(isReady)
      if (verdict !== undefined) return verdict
      if (isReady || isUsed) {
        goodAtMs = nowMs
        this.#enter('ready')
        if (nowMs - usedAtMs > this.#unusedMs) {
          const text = `no gateway has come through it for ${String(this.#unusedMs / 1000)} s, although it says that it is ready`
          this.#unusedMs = Math.min(UNUSED_MS_MAX, this.#unusedMs * 2)
          return text
        }
        if (clock.wallMs() - this.#sinceMs > STABLE_MS) this.#attempt = 0
        this.#wasReady = true
        this.#isHttp2Next = this.#view.protocol === 'http2' && this.#isHttp2Next
        this.#reason = undefined
        this.#failure = undefined
        continue
      }
      if (this.#wasReady || this.#failure === undefined) this.#reason = reason
      if (this.#wasReady && this.#state === 'ready') this.#enter('not-ready')
      const limitMs = settings[this.#wasReady ? 'cloudflared.outage' : 'cloudflared.startTimeout']
      if (nowMs - goodAtMs > limitMs) {
        if (!this.#wasReady) this.#isHttp2Next = !this.#isHttp2Next
        return `${reason}, for ${String(Math.round((nowMs - goodAtMs) / 1000))} s`
      }
    }
    return 'it is not looked at any more'
  }

  /** What it has said, and no waiting would mend. */
  #verdict(isReady: boolean): string | undefined {
    const { isUnauthorized, checksum } = this.#view
    const pin = this.#settings['cloudflared.sha256']
    if (isUnauthorized && !isReady)
      return 'the edge does not take its token (Unauthorized): cloudflared.tokenFile is wrong, or the tunnel is deleted'
    if (pin !== undefined && checksum !== undefined && checksum !== pin)
      return `what runs has SHA-256 ${checksum}, and cloudflared.sha256 pins ${pin}`
    return undefined
  }

  async #end(child: Child, ended: Promise<string>): Promise<void> {
    if (child.pid === 0) return
    this.#inlet.drop()
    child.kill('SIGTERM')
    const cancelTimer = this.#ambient.clock.startTimer(
      this.#settings['cloudflared.grace'],
      () => {
        child.kill('SIGKILL')
      },
      true,
    )
    await ended
    cancelTimer()
  }

  /** With what it last said, where that says more. */
  #explained(reason: string): string {
    const { last } = this.#view
    return last === undefined ? reason : `${reason}; it last said: ${last}`
  }

  #enter(state: ConnectorReport['state']): void {
    if (this.#state === state) return
    this.#state = state
    this.#sinceMs = this.#ambient.clock.wallMs()
    if (state === 'ready')
      this.#ambient.logger.info({ peer: addressText(this.#address) }, 'cloudflared is ready')
  }
}

/** Judges the settings of the connector, with the files that they name. @throws CONFIG_INVALID, FILE_UNREADABLE, KEY_EXPOSED */
export function judgeConnector(settings: AgentSettings): void {
  const { host } = settings['cloudflared.listen']
  if (!ipaddr.IPv4.isValidFourPartDecimal(host) || !host.startsWith('127.'))
    throw new PosternError(
      'CONFIG_INVALID',
      'cloudflared.listen must be an address of this machine alone, such as 127.0.0.1:7865',
    )
  const tokenFile = settings['cloudflared.tokenFile']
  if (tokenFile !== undefined) judgeTunnelToken(tokenFile)
}

/** Judges the file of a tunnel's token. Returns the tunnel that it is for. @throws CONFIG_INVALID, which quotes nothing of it, FILE_UNREADABLE, KEY_EXPOSED */
export function judgeTunnelToken(path: string): string {
  const text = Buffer.from(readSecretFile(path).trim(), 'base64').toString()
  const tunnel = /"t":"([0-9a-fA-F-]{36})"/.exec(text)?.[1]
  if (tunnel !== undefined) return tunnel
  const form = 'the token of a tunnel, as the dashboard or cloudflared tunnel token shows it'
  throw new PosternError('CONFIG_INVALID', `${path} must hold ${form}, and nothing else`)
}
