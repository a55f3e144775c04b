/** Who makes a call, as the connection and the gateway vouch for it. */
export type Caller =
  /** A control-plane service, by the name in its certificate. */
  | {
      readonly kind: 'service'
      readonly name: string
      /**
       * `gateway`: the gateway says so, who has seen its certificate. `token`: the gateway says so, who was shown a token.
       * `first-hand`: the agent saw its certificate, on a sealed call.
       */
      readonly known: 'gateway' | 'token' | 'first-hand'
      /** Who signed its token; undefined: it has shown a certificate. */
      readonly issuer?: string | undefined
      /** Region in its certificate; undefined: it has none. On the word of the same as its name. */
      readonly region?: string | undefined
    }
  /** A gateway itself, by the name in its certificate: no service can be taken for one. */
  | { readonly kind: 'gateway'; readonly name: string }
  /** Whoever can open the local socket: the daemon's own user, and root. */
  | { readonly kind: 'operator' }
  /** The peer of one connection, by a key of that connection. */
  | { readonly kind: 'connection'; readonly key: string }

/** For logs, spans and texts. */
export function callerText(caller: Caller): string {
  switch (caller.kind) {
    case 'service':
      return caller.name
    case 'gateway':
      return `gateway ${caller.name}`
    case 'operator':
      return 'the operator'
    case 'connection':
      return 'the peer'
  }
}
