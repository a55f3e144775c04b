import type { GatewaySettings } from '../../config/gateway-settings.ts'
import { isLoopback } from '../../config/plaintext.ts'
import { about, type Finding } from '../../base/finding.ts'
import { Posture } from '../../gen/postern/v1/posture_pb.js'
import type { Offer } from '../../rpc/service.ts'
import { offersOf } from '../../rpc/typed.ts'

/** The values and collaborators of the posture of a gateway. */
export interface GatewayPosturePorts {
  /** Those in force. */
  readonly settings: () => GatewaySettings
  readonly region: string
}

/** Returns `postern.v1.Posture`, for the local socket of a gateway. What it needs is read when somebody asks. */
export function postureOffers({ settings, region }: GatewayPosturePorts): Offer[] {
  return offersOf(Posture, {
    look: async () => {
      const findings = await gatewayPosture(settings(), region)
      return { findings: findings.map((one) => ({ ...one })) }
    },
  })
}

/** Looks at the store, the CA, the listeners and the process of a gateway: each line with what was seen, never with a guess. */
export async function gatewayPosture(
  settings: GatewaySettings,
  region: string,
): Promise<Finding[]> {
  const { storedFindings, processFindings } = await import('./stored.ts')
  return [
    ...storedFindings(settings),
    ...listenerFindings(settings),
    ...about('gateway', 'region', [
      { check: 'residency', outcome: 'OK', evidence: `its certificate names ${region}` },
    ]),
    ...processFindings(),
  ]
}

function listenerFindings(settings: GatewaySettings): Finding[] {
  const check = 'encryption in transit'
  const mutual = { check, outcome: 'OK', evidence: 'mutual TLS, 1.2 and above' } as const
  const { 'metrics.listen': metrics, 'ca.directory': ca } = settings
  const enrolment = { check, outcome: 'OK', evidence: 'TLS, 1.2 and above' } as const
  const listed = [
    ...about('listener', 'agents.listen', [mutual]),
    ...about('listener', 'callers.listen', [mutual]),
    ...(ca === undefined ? [] : about('listener', 'enroll.listen', [enrolment])),
    ...(ca === undefined ? [] : about('listener', 'enroll.renewListen', [mutual])),
  ]
  if (metrics === undefined) return listed
  const isLocal = isLoopback(metrics.host)
  const evidence = isLocal ? 'plain HTTP, for this machine alone' : `plain HTTP on ${metrics.host}`
  const outcome = isLocal ? 'OK' : 'WARN'
  return [...listed, ...about('listener', 'metrics.listen', [{ check, outcome, evidence }])]
}
