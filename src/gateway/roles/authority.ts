import type { ErrorCode } from '../../base/errors.ts'
import { isByteStream, KIND } from '../../wire/open-head.ts'
import type { RoleBook } from './role-book.ts'
import type { KnownCaller, Use } from './role.ts'

/** Why a caller may not use what it asks for. */
export interface RoleDenial {
  readonly code: ErrorCode
  readonly text: string
}

/** What a stream is to use, as its head says. */
export interface Asked {
  readonly cluster: string
  readonly name: string
  /** As in the head. */
  readonly kind: number
}

/**
 * The gateway's one decision on who may use what: every listener, list and stream comes by here before it comes to the registry. It
 * narrows what the customer's own policy allows, and widens nothing.
 */
export class RoleAuthority {
  readonly book: RoleBook
  #certificates: 'optional' | 'required'

  /** `certificates`: whether callers with certificates need a role; those with tokens always do. */
  constructor(book: RoleBook, certificates: 'optional' | 'required') {
    this.book = book
    this.#certificates = certificates
  }

  /** Goes over to another setting. */
  use(certificates: 'optional' | 'required'): void {
    this.#certificates = certificates
  }

  #needsRole({ caller, issuer }: KnownCaller): boolean {
    // The gateway itself, as for its canary, has no name.
    return issuer !== undefined || (caller !== '' && this.#certificates === 'required')
  }

  /** Why a caller may not use what a stream asks for; undefined: it may. A cluster of which no role of its speaks is as one that nobody knows. */
  denialOf(who: KnownCaller, asked: Asked): RoleDenial | undefined {
    if (!this.#needsRole(who) || this.book.roleFor(who, useOf(asked)) !== undefined)
      return undefined
    const { cluster, name } = asked
    if (!this.book.knowsCluster(who, cluster)) return unknownCluster(cluster)
    const what = name === '' ? 'sealed sessions' : name
    return { code: 'POLICY_DENIED', text: `no role of this caller allows ${what}` }
  }

  /** Whether a caller may know of a cluster. */
  sees(who: KnownCaller, cluster: string): boolean {
    return !this.#needsRole(who) || this.book.knowsCluster(who, cluster)
  }

  /** Whether a caller may see that a cluster offers something. */
  mayUse(who: KnownCaller, asked: Asked): boolean {
    return this.denialOf(who, asked) === undefined
  }

  /** Whether a caller may ask the gateway about itself at all. */
  mayAsk(who: KnownCaller): boolean {
    return !this.#needsRole(who) || this.book.hasRole(who)
  }
}

/** Returns the refusal of a cluster that is not connected: nobody can tell it from one that they may not know of. */
export function unknownCluster(cluster: string): RoleDenial {
  return { code: 'CLUSTER_UNKNOWN', text: `no tunnel of cluster ${cluster} is connected` }
}

function useOf({ cluster, name, kind }: Asked): Use {
  const sort = kind === KIND.sealed ? 'sealed' : isByteStream(kind) ? 'service' : 'method'
  return { cluster, name, kind: sort }
}
