import { isSelfIssued, type CertificateFacts } from './certificate.ts'
import type { NameConstraints } from './extensions.ts'
import type { GeneralName } from './general-name.ts'
import { liesInSubtree } from './match-names.ts'

/** Comparisons of one path. More than any honest chain needs, and done in a few milliseconds. */
const COMPARISONS_MAX = 250_000

/** The constraint that a name violates, and where it stands. */
export interface ConstraintFault {
  /** Index in the path of the certificate whose name is at fault. */
  readonly index: number
  readonly text: string
}

/**
 * Holds the names of a path, leaf first, against the name constraints of every CA above them
 * (RFC 5280 section 6.1.4). Self-issued intermediates are exempt.
 */
export function constraintFaults(path: readonly CertificateFacts[]): ConstraintFault[] {
  const constrainers = path.flatMap(({ extensions: { nameConstraints } }, index) =>
    nameConstraints === undefined ? [] : [{ index, nameConstraints }],
  )
  const faults: ConstraintFault[] = []
  let left = COMPARISONS_MAX
  path.forEach((certificate, index) => {
    if (index > 0 && isSelfIssued(certificate)) return
    const names = namesOf(certificate)
    for (const { index: above, nameConstraints } of constrainers) {
      if (above <= index) continue
      left -= names.length * (nameConstraints.permitted.length + nameConstraints.excluded.length)
      if (left < 0) {
        faults.push({ index: above, text: 'has more name constraints than can be judged' })
        return
      }
      for (const name of names) {
        const text = faultOf(name, nameConstraints)
        if (text !== undefined) faults.push({ index, text })
      }
    }
  })
  return faults
}

/** Every name that constraints are about: the alternative names, the subject, its mailboxes. */
function namesOf({ subject, extensions }: CertificateFacts): GeneralName[] {
  const names: GeneralName[] = [...(extensions.names ?? [])]
  if (subject.rdns.length > 0) names.push({ kind: 'directory', value: subject })
  if (!names.some(({ kind }) => kind === 'email'))
    names.push(...subject.emails.map((value) => ({ kind: 'email' as const, value })))
  return names
}

function faultOf(name: GeneralName, { permitted, excluded }: NameConstraints): string | undefined {
  const shown = nameText(name)
  try {
    if (excluded.some((base) => liesInSubtree(name, base, true)))
      return `holds the name ${shown}, which a CA above it excludes`
    const sameKind = permitted.filter((base) => isSameKind(name, base))
    if (sameKind.length === 0 || sameKind.some((base) => liesInSubtree(name, base, false)))
      return undefined
    return `holds the name ${shown}, which lies in no subtree that a CA above it permits`
  } catch (error) {
    return `holds the name ${shown}, which cannot be held against a constraint: ${(error as Error).message}`
  }
}

function isSameKind(name: GeneralName, base: GeneralName): boolean {
  return name.kind === base.kind && (name.kind !== 'other' || name.value === base.value)
}

/** Returns a GeneralName as people read it. */
export function nameText({ kind, value }: GeneralName): string {
  if (typeof value === 'string') return `${kind}:${value}`
  if (Buffer.isBuffer(value)) return `${kind}:${value.toString('hex')}`
  return typeof value === 'number' ? `${kind}:[${String(value)}]` : `${kind}:${value.key}`
}
