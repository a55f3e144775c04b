import { PosternError } from '../base/errors.ts'
import { Tunnel as TunnelService } from '../gen/postern/v1/tunnel_pb.js'
import type { Credential } from '../identity/key-files.ts'
import type { Egress } from '../transport/egress.ts'
import { clientOf } from '../rpc/typed.ts'
import { caCertificates, estIssue } from './est.ts'
import { recover } from './proof-client.ts'
import { errorOfCall } from './refusals.ts'
import type { Tunnels } from './tunnels.ts'

const RENEW_MS_MAX = 20_000

/** What a gateway answered: certificates in DER, ours among them or by itself. */
export type Answered = readonly Buffer[]

export interface WaysParts {
  readonly tunnels: Tunnels
  readonly credential: () => Credential
  readonly issuingKeys: () => readonly string[]
  readonly egress: Egress
  /** EST with mutual TLS; undefined: not known. */
  readonly renewUrl: URL | undefined
  /** Where no certificate is asked for. */
  readonly enrolUrl: URL | undefined
  readonly nowMs: () => number
}

/**
 * Asks for the next certificate over whatever way is open: the tunnel; EST with the certificate that we
 * have; and where that has expired, or there is no such address, the enrolment address, to which we
 * prove that we hold the key. @throws what the gateway refuses with, network codes
 */
export async function askForRenewal(parts: WaysParts, signingRequest: Buffer): Promise<Answered> {
  const { tunnels, credential, issuingKeys, renewUrl, enrolUrl, egress, nowMs } = parts
  const [ready] = tunnels.ready
  if (ready !== undefined) {
    const client = clientOf(TunnelService, ready.connection.channel())
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
  const own = credential()
  if (renewUrl !== undefined && own.notAfterMs > nowMs()) {
    const { bundlePem, certificatePem, keyPem, identity } = own
    const { trustDomain } = identity
    const trust = {
      bundlePem,
      trustDomain,
      certificatePem,
      keyPem,
      issuingKeys: issuingKeys(),
      egress,
    }
    const issued = await estIssue(renewUrl, 'simplereenroll', signingRequest, trust)
    const chain = await caCertificates(renewUrl, trust)
    return [...issued, ...chain].map(({ der }) => der)
  }
  const trusting = { credential: own, issuingKeys: issuingKeys(), egress }
  if (enrolUrl !== undefined) return await recover(enrolUrl, trusting, signingRequest)
  const text =
    'no tunnel is up, and neither identity.enrollUrl nor identity.renewUrl names another way to renew'
  throw new PosternError('CONNECTION_LOST', text)
}
