import type { Identity } from '../../identity/name.ts'
import type { Clock } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import { Tunnel as TunnelService } from '../../gen/postern/v1/tunnel_pb.js'
import type { Egress } from '../../transport/egress.ts'
import { unaryClientOf } from '../../rpc/typed.ts'
import { caCertificates, estIssue, recover, errorOfCall } from '../enrolment/enrolment.ts'
import type { RpcConnection } from '../../tunnel/rpc-connection.ts'
import { OwnChannel, type AgentGuard } from '../guard/guard.ts'
import type { CredentialStore } from '../credential/credential.ts'

const RENEW_MS_MAX = 20_000

/** What a gateway answered: certificates in DER, ours among them or by itself. */
export type Answered = readonly Buffer[]

/** The ways over which a renewal may be asked for. */
export interface RenewalWays {
  readonly store: CredentialStore
  readonly guard: AgentGuard
  readonly prover: Prover
  readonly egress: Egress
  readonly clock: Clock
  /** EST with mutual TLS; undefined: not known. */
  readonly renewUrl: URL | undefined
  /** Where no certificate is asked for; undefined: not known. */
  readonly enrollUrl: URL | undefined
}

/** The tunnels, as far as a renewal is asked for through one. */
export interface Prover {
  readonly ready: readonly { readonly connection: RpcConnection }[]
}

/**
 * Asks for the next certificate over whatever way is open: the tunnel; EST with the certificate that we
 * have; and where that has expired, or there is no such address, the enrolment address, to which we
 * prove that we hold the key. @throws what the gateway refuses with, network codes
 */
export async function askForRenewal(ways: RenewalWays, signingRequest: Buffer): Promise<Answered> {
  const { store, guard, prover, renewUrl, enrollUrl, egress, clock } = ways
  const { credential, trust: held } = store
  const [ready] = prover.ready
  if (ready !== undefined) {
    const client = unaryClientOf(TunnelService, new OwnChannel(guard.guard, ready.connection))
    try {
      const { certificate, chain } = await client.renew(
        { signingRequest },
        { timeoutMs: RENEW_MS_MAX },
      )
      return [certificate, ...chain].map((der) => Buffer.from(der))
    } catch (error) {
      throw errorOfCall(error)
    }
  }
  const { issuingKeys } = held
  const refuse = (identity: Identity): PosternError | undefined => guard.regionRefusal(identity)
  if (renewUrl !== undefined && credential.notAfterMs > clock.wallMs()) {
    const { bundlePem, certificatePem, keyPem, identity } = credential
    const { trustDomain } = identity
    const trust = { bundlePem, trustDomain, certificatePem, keyPem, issuingKeys, egress, refuse }
    const issued = await estIssue(renewUrl, 'simplereenroll', signingRequest, trust)
    const chain = await caCertificates(renewUrl, trust)
    return [...issued, ...chain].map(({ der }) => der)
  }
  const trusting = { credential, issuingKeys, egress, refuse }
  if (enrollUrl !== undefined) return await recover(enrollUrl, trusting, signingRequest)
  const text =
    'no tunnel is up, and neither identity.enrollUrl nor identity.renewUrl names another way to renew'
  throw new PosternError('CONNECTION_LOST', text)
}
