import { dialGateway, type DialOptions } from '../../src/caller/connect.ts'
import type { GatewayClient } from '../../src/caller/gateway-client.ts'
import type { RpcConnection } from '../../src/tunnel/rpc-connection.ts'
import { openSealed } from '../../src/seal/open-sealed.ts'
import { readSealingKey, sealedEnd } from '../../src/seal/sealing-key.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { CALLER_SETTINGS } from '../../src/config/gateway-settings.ts'
import { loadSettings } from '../../src/config/load.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import type { RpcChannel } from '../../src/rpc/channel.ts'
import { drinkFor } from '../drink.ts'
import { measureBytes, measureCalls, type CallRun } from '../measure.ts'

const BODY = Buffer.alloc(100, 7)
const OPTIONS = { timeoutMs: 10_000, metadata: { tenant: 'bench' } }
let client: GatewayClient
let sealed: RpcConnection | undefined

async function connect(options: DialOptions): Promise<void> {
  client = await dialGateway(options)
}

/** Opens a sealed session; from then on what says `isSealed` goes over it. */
async function seal({ keyFile, pin, flags }: Seal): Promise<void> {
  const { values } = loadSettings(CALLER_SETTINGS, { flags, environment: {}, file: undefined })
  const ambient = { clock: systemClock, random: systemRandom, logger: silentLogger }
  const identity = { role: 'agent', trustDomain: '', cluster: 'bench', agent: '' } as const
  const trust = { pins: new Map([[pin, identity]]), roots: [], crls: [] }
  const key = readSealingKey({ keyFile, certificateFile: undefined })
  sealed = await openSealed({
    channel: client.cluster('bench').channel,
    cluster: 'bench',
    end: await sealedEnd(key, () => trust, 'agent', Date.now),
    process: processParts(values, ambient),
    timeoutMs: 10_000,
  })
}

interface Seal {
  readonly keyFile: string
  readonly pin: string
  readonly flags: Record<string, string>
}

function channelOf(isSealed: boolean): RpcChannel {
  const channel = isSealed ? sealed?.channel() : client.cluster('bench').channel
  if (channel === undefined) throw new Error('nothing is sealed yet')
  return channel
}

async function unary({
  inFlight,
  seconds,
  isSealed = false,
}: {
  inFlight: number
  seconds: number
  isSealed?: boolean
}): Promise<CallRun> {
  const channel = channelOf(isSealed)
  return await measureCalls(
    () => channel.unary('bench.Bench/Echo', BODY, OPTIONS),
    inFlight,
    seconds,
  )
}

async function bulk({
  seconds,
  isSealed,
}: {
  seconds: number
  isSealed: boolean
}): Promise<number> {
  const channel = channelOf(isSealed)
  return await measureBytes((took) => drinkFor(channel, performance.now() + seconds * 1000, took))
}

export const role = { connect, seal, unary, bulk }
