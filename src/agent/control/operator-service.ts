import { X509Certificate } from 'node:crypto'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { pause } from '../../base/pause.ts'
import {
  AgentControl,
  type AgentStatus,
  type RenewedCertificateSchema,
} from '../../gen/postern/v1/agent_control_pb.js'
import { KEY_KINDS } from '../../identity/keys.ts'
import type { CallContext } from '../../rpc/call-context.ts'
import type { Offer } from '../../rpc/service.ts'
import { offersOf } from '../../rpc/typed.ts'
import { takeSnapshot } from './diag-snapshot.ts'
import type { AgentRooms } from './rooms.ts'
import { agentStatus } from './status.ts'

/** Between two messages of WatchStatus. */
const WATCH_MS = 1000
const MARKER_MIN = 16
const MARKER_MAX = 256

/** The collaborators of the service that an operator calls. */
export interface OperatorPorts {
  readonly agent: AgentRooms
  readonly clock: Clock
  /** Reads identity and settings anew. */
  readonly reload: () => Promise<void>
  /** The last lines of the log, oldest first. */
  readonly recentLog: () => readonly string[]
}

/** Returns the methods of `postern.v1.AgentControl`, for the local socket. */
export function operatorOffers({ agent, clock, reload, recentLog }: OperatorPorts): Offer[] {
  const status = (): AgentStatus => agentStatus(agent.report(), clock.wallMs())
  async function* watchStatus(_request: unknown, { signal }: CallContext) {
    for (;;) {
      yield status()
      await pause(clock, WATCH_MS, signal, false)
    }
  }
  return offersOf(AgentControl, {
    status,
    watchStatus,
    takeSnapshot: () => takeSnapshot(agent, clock, recentLog()),
    renewCertificate: ({ keyKind }) => renewNow(agent, keyKind),
    applyLockdown: () => {
      agent.guard.lookForLockdown()
      const { lockdown } = agent.guard.report()
      return lockdown === undefined ? {} : { lockdown }
    },
    prove: async ({ marker, lockdown }) => {
      if (marker.length < MARKER_MIN || marker.length > MARKER_MAX)
        throw new PosternError('USAGE', 'a marker has 16 to 256 characters')
      return { pid: process.pid, experiments: [...(await agent.prover.run(marker, lockdown))] }
    },
    reload: async () => {
      await reload()
      return {}
    },
  })
}

/** Returns the same methods as they answer before there is an identity: all with NOT_ENROLLED. */
export function offersBeforeEnrolment(reason: () => string): Offer[] {
  const refuse = (): never => {
    throw new PosternError('NOT_ENROLLED', `not enrolled yet: ${reason()}`)
  }
  const names = AgentControl.methods.map(({ localName }) => [localName, refuse] as const)
  return offersOf(AgentControl, Object.fromEntries(names) as never)
}

/** What a renewal has changed. */
export type Renewed = MessageInitShape<typeof RenewedCertificateSchema> & {
  readonly serialBefore: string
  readonly serial: string
  readonly notAfter: string
  readonly key: string
}

/**
 * Renews the agent's certificate at once, for the operator, and returns both serials, the expiry and the kind of key.
 * `kindName`: of the new key; undefined: as it is.
 * @throws RENEWAL_REFUSED where somebody else manages it, USAGE, and as Renewal.renewNow
 */
export async function renewNow(
  { store, changes }: Pick<AgentRooms, 'store' | 'changes'>,
  kindName: string | undefined,
): Promise<Renewed> {
  const { renewal } = changes
  if (renewal === undefined) {
    const text = 'somebody else manages the certificate (identity.source: files)'
    throw new PosternError('RENEWAL_REFUSED', text)
  }
  const kind = KEY_KINDS.find((one) => one === kindName)
  if (kindName !== undefined && kind === undefined)
    throw new PosternError('USAGE', `${kindName} is no kind of key`)
  const before = new X509Certificate(store.credential.certificatePem)
  await renewal.renewNow(kind)
  const after = new X509Certificate(store.credential.certificatePem)
  const { asymmetricKeyType, asymmetricKeyDetails } = after.publicKey
  return {
    serialBefore: before.serialNumber.toLowerCase(),
    serial: after.serialNumber.toLowerCase(),
    notAfter: new Date(after.validTo).toISOString(),
    key: `${asymmetricKeyType ?? ''} ${asymmetricKeyDetails?.namedCurve ?? ''}`.trim(),
  }
}
