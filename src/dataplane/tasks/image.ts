/** Repository and digest of an image. */
export interface Image {
  /** "host/path", the host in full. */
  readonly repository: string
  readonly digest: string | undefined
}

const PART = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const HOST =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)(?::\d{1,5})?$/
const PATH = new RegExp(`^${PART}(?:/${PART})*$`)
const TAG = /^\w[\w.-]{0,127}$/
const DIGEST = /^sha256:[0-9a-f]{64}$/
const NAME_MAX = 255
const DEFAULT_HOST = 'docker.io'

/**
 * Reads the name of an image as container runtimes do (github.com/distribution/reference): what names no host is of Docker Hub.
 * Undefined: it is none, or one that two of them could read in two ways.
 */
export function readImage(text: string): Image | undefined {
  const [named = '', digest, ...more] = text.split('@')
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) return undefined
  const slash = named.indexOf('/')
  const first = slash === -1 ? '' : named.slice(0, slash)
  const hasHost = first === 'localhost' || /[.:]/.test(first)
  const host = hasHost ? first : DEFAULT_HOST
  const rest = hasHost ? named.slice(slash + 1) : named
  const [path = '', tag, ...others] = rest.split(':')
  const isWhole = others.length === 0 && (tag === undefined || TAG.test(tag))
  if (!isWhole || !HOST.test(host) || !PATH.test(path)) return undefined
  const isShort = host === DEFAULT_HOST && !path.includes('/')
  const repository = `${host}/${isShort ? `library/${path}` : path}`
  return repository.length > NAME_MAX ? undefined : { repository, digest }
}

/** Whether a list of repositories, each with a star at its end or without, holds one. */
export function holdsImage(list: readonly string[], { repository }: Image): boolean {
  return list.some((one) =>
    one.endsWith('*') ? repository.startsWith(one.slice(0, -1)) : repository === one,
  )
}
