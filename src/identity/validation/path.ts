import ipaddr from 'ipaddr.js'
import type { CertificateFacts } from './certificate.ts'
import { constraintFaults } from './name-constraints.ts'
import { dnsNameCovers } from './match-names.ts'
import { certificateFaults, pathLengthFaults, type PeerRole, type Place } from './rules.ts'
import { isSignedBy } from './signature.ts'

/** Certificates of one path, root and leaf included. */
const PATH_LENGTH_MAX = 10
/** Signatures verified in one search; a hostile set of intermediates costs no more. */
const SIGNATURES_MAX = 256

/** Input of a certificate path check: the leaf, what may stand above it, the roots, the time and the role to judge for. */
export interface PathRequest {
  readonly leaf: CertificateFacts
  /** Not trusted; only those that a path needs are judged. */
  readonly intermediates: readonly CertificateFacts[]
  readonly roots: readonly CertificateFacts[]
  readonly timeMs: number
  /** What the leaf is used as; undefined asks nothing of its extended key usage. */
  readonly role: PeerRole | undefined
  /** DNS name or address that the leaf must hold. */
  readonly name?: string | undefined
}

/** A broken rule: which certificate, and what is wrong with it, in words. */
export interface Fault {
  readonly certificate: CertificateFacts
  readonly place: Place
  readonly text: string
}

/** The path that was found, or the faults of the best one. */
export interface PathVerdict {
  readonly isValid: boolean
  /** Leaf first; the valid path, or the one that came closest. */
  readonly path: readonly CertificateFacts[]
  /** Whether the path ends at a root. */
  readonly reachesRoot: boolean
  readonly faults: readonly Fault[]
}

/**
 * Looks for a path from the leaf to a root that breaks no rule of RFC 5280 section 6. Every path is
 * tried, so that an expired or hostile intermediate hides no good one. Where none is valid, the
 * verdict lists every broken rule of the path that came closest.
 */
export function validatePath(request: PathRequest): PathVerdict {
  return new Search(request).run()
}

class Search {
  readonly #request: PathRequest
  #signaturesLeft = SIGNATURES_MAX
  #best: PathVerdict

  constructor(request: PathRequest) {
    this.#request = request
    this.#best = { ...this.#judge([request.leaf], false), isValid: false }
  }

  run(): PathVerdict {
    this.#extend([this.#request.leaf])
    return this.#best
  }

  /** Depth first; returns whether a valid path was found. */
  #extend(path: readonly CertificateFacts[]): boolean {
    const last = path.at(-1)
    if (last === undefined || path.length >= PATH_LENGTH_MAX) return false
    for (const root of this.#issuersOf(last, this.#request.roots, path))
      if (this.#take(this.#judge([...path, root], true))) return true
    for (const issuer of this.#issuersOf(last, this.#request.intermediates, path)) {
      const longer = [...path, issuer]
      if (!this.#best.reachesRoot) this.#take(this.#judge(longer, false))
      if (this.#extend(longer)) return true
    }
    return false
  }

  /** Those whose name and key made `certificate`, the ones with the key identifier that it names first. */
  #issuersOf(
    certificate: CertificateFacts,
    candidates: readonly CertificateFacts[],
    path: readonly CertificateFacts[],
  ): CertificateFacts[] {
    const wanted = certificate.extensions.authorityKeyId?.keyId
    const isNamed = ({ extensions }: CertificateFacts): number =>
      wanted !== undefined && extensions.subjectKeyId === wanted ? 0 : 1
    return candidates
      .filter(({ subject }) => subject.key === certificate.issuer.key)
      .filter((candidate) => !path.some((other) => isSameAuthority(other, candidate)))
      .sort((a, b) => isNamed(a) - isNamed(b))
      .filter((candidate) => this.#signaturesLeft-- > 0 && isSignedBy(certificate, candidate))
  }

  /** Keeps the verdict if it is the best yet; returns whether it is valid. */
  #take(verdict: PathVerdict): boolean {
    const isBetter =
      verdict.reachesRoot !== this.#best.reachesRoot
        ? verdict.reachesRoot
        : verdict.reachesRoot
          ? verdict.faults.length < this.#best.faults.length
          : verdict.path.length > this.#best.path.length
    if (isBetter) this.#best = verdict
    return verdict.isValid
  }

  #judge(path: readonly CertificateFacts[], reachesRoot: boolean): PathVerdict {
    const placeOf = (index: number): Place =>
      index === 0 ? 'leaf' : reachesRoot && index === path.length - 1 ? 'root' : 'intermediate'
    const faults: Fault[] = []
    const add = (index: number, text: string): void => {
      const certificate = path[index]
      if (certificate !== undefined) faults.push({ certificate, place: placeOf(index), text })
    }
    path.forEach((certificate, index) => {
      for (const text of certificateFaults(certificate, placeOf(index), this.#request))
        add(index, text)
    })
    for (const text of nameFaults(this.#request)) add(0, text)
    for (const index of pathLengthFaults(path))
      add(index, 'has a longer path below it than it allows')
    for (const { index, text } of constraintFaults(path)) add(index, text)
    if (!reachesRoot) {
      add(
        path.length - 1,
        this.#signaturesLeft > 0
          ? 'was issued by no certificate that is trusted or known'
          : 'is one of too many intermediates to try',
      )
    }
    return { isValid: faults.length === 0, path, reachesRoot, faults }
  }
}

/** The same name and key: a path that holds both goes in a circle. */
function isSameAuthority(a: CertificateFacts, b: CertificateFacts): boolean {
  return a.subject.key === b.subject.key && a.publicKey.equals(b.publicKey)
}

/** The subject's common name is for people; only the alternative names count. */
function nameFaults({ leaf, name }: PathRequest): string[] {
  if (name === undefined) return []
  const names = leaf.extensions.names ?? []
  const isHeld = ipaddr.isValid(name)
    ? names.some(
        ({ kind, value }) =>
          kind === 'ip' && value.equals(Buffer.from(ipaddr.parse(name).toByteArray())),
      )
    : names.some(({ kind, value }) => kind === 'dns' && dnsNameCovers(value, name))
  return isHeld ? [] : [`does not hold the name ${name}`]
}
