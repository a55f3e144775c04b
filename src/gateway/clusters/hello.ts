import { PosternError } from '../../base/errors.ts'
import type { RegisterRequest } from '../../gen/postern/v1/tunnel_pb.js'

/** Bytes of a Register request: what follows is bounded before it is decoded. */
export const HELLO_BYTES_MAX = 64 * 1024
const OFFERS_MAX = 1024
const FEATURES_MAX = 64
const HASH_BYTES = 32
const NAME = /^[\x21-\x7e]{1,255}$/
const WORD = /^[\x20-\x7e]{0,64}$/

/** What an agent said of itself, judged. */
export interface AgentHello {
  readonly agentVersion: string
  readonly methods: readonly {
    readonly name: string
    readonly kind: string
    readonly dataType: string
  }[]
  readonly services: readonly { readonly name: string; readonly dataType: string }[]
  readonly features: ReadonlySet<string>
  readonly methodNames: ReadonlySet<string>
  readonly serviceNames: ReadonlySet<string>
  /** Of what describes its methods, in hex; empty: nothing does. */
  readonly descriptorsHash: string
}

/** Takes the known fields, in bounds, and lets go of the rest. @throws MALFORMED_CALL */
export function judgeHello(request: RegisterRequest): AgentHello {
  const { agentVersion, methods, services, features } = request
  word(request.instance)
  if (methods.length + services.length > OFFERS_MAX)
    throw malformed(`more than ${String(OFFERS_MAX)} methods and services`)
  const offered = {
    methods: methods.map(({ name, kind, dataType }) => ({
      name: offerName(name),
      kind: word(kind),
      dataType: word(dataType),
    })),
    services: services.map(({ name, dataType }) => ({
      name: offerName(name),
      dataType: word(dataType),
    })),
  }
  return {
    agentVersion: word(agentVersion),
    ...offered,
    features: new Set(features.slice(0, FEATURES_MAX).map(word)),
    methodNames: new Set(offered.methods.map(({ name }) => name)),
    descriptorsHash: hashOf(request.descriptorsHash),
    serviceNames: new Set(offered.services.map(({ name }) => name)),
  }
}

function offerName(text: string): string {
  if (NAME.test(text)) return text
  throw malformed('a name that is not 1 to 255 printable ASCII characters')
}

function hashOf(bytes: Uint8Array): string {
  if (bytes.length === 0 || bytes.length === HASH_BYTES) return Buffer.from(bytes).toString('hex')
  throw malformed('a hash that is not of SHA-256')
}

function word(text: string): string {
  if (WORD.test(text)) return text
  throw malformed('a field that is not at most 64 printable ASCII characters')
}

function malformed(what: string): PosternError {
  return new PosternError('MALFORMED_CALL', `the registration holds ${what}`)
}
