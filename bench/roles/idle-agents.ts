import { refuseStreams } from '../../src/mux/session-owner.ts'
import { readCredential, type Credential, type KeyFilePaths } from '../../src/identity/key-files.ts'
import { silentLogger } from '../../src/base/logger.ts'
import { systemRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { Tunnel } from '../../src/gen/postern/v1/tunnel_pb.js'
import { clientOf } from '../../src/rpc/typed.ts'
import { dialTls } from '../../src/transport/tls-dial.ts'
import { processParts } from '../../src/tunnel/process-parts.ts'
import { RpcConnection } from '../../src/tunnel/rpc-connection.ts'

interface Dial {
  readonly port: number
  readonly count: number
  readonly agents: readonly KeyFilePaths[]
  readonly trustDomain: string
}

const MIB = 1024 * 1024
const AT_ONCE = 16

/** Holds many registered tunnels that carry nothing but pings. */
async function hold({ port, count, agents, trustDomain }: Dial): Promise<void> {
  const credentials = agents.map((files) => readCredential(files, 'agent', Date.now()))
  const settings = {
    'tunnel.pingInterval': 10_000,
    'tunnel.silence': 60_000,
    'limits.windowBytesMax': 8 * MIB,
    'limits.sessionWindowBytesMax': 32 * MIB,
    'limits.bufferBytesMax': 8192 * MIB,
    'rpc.messageBytesMax': 4 * MIB,
  }
  const parts = processParts(settings, {
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  })
  const expected = { trustDomain, roles: ['gateway'] as const }
  const dial = async (credential: Credential): Promise<void> => {
    const { cluster = '', agent = '' } = credential.identity as Partial<Record<string, string>>
    const signal = AbortSignal.timeout(60_000)
    const wire = await dialTls({
      host: '127.0.0.1',
      port,
      serverName: 'localhost',
      credential,
      expected,
      signal,
      nowMs: Date.now(),
    })
    await new Promise<void>((resolve, reject) => {
      new RpcConnection(wire, 'dialer', parts, {
        onReady: (connection) => {
          const client = clientOf(Tunnel, connection.channel())
          client.register({ cluster, agent }).then(() => {
            resolve()
          }, reject)
        },
        streams: refuseStreams(''),
        onClosed: (_connection, error) => {
          reject(error)
        },
      })
    })
  }
  let left = count
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (left-- > 0) {
        const credential = credentials[left % credentials.length]
        if (credential !== undefined) await dial(credential)
      }
    }),
  )
}

export const role = { hold }
