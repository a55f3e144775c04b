import { PosternError } from './errors.ts'

/** A host name or IP address, and a port. */
export interface Address {
  readonly host: string
  readonly port: number
}

const FORM =
  /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<host>[A-Za-z0-9_](?:[A-Za-z0-9._-]*))):(?<port>\d{1,5})$/
const PORT_MAX = 65_535

/**
 * Reads "host:port" or "[v6]:port". Port 0 stands for any free one, so only a listener may ask for it.
 * @throws CONFIG_INVALID
 */
export function parseAddress(text: string, portMin = 1): Address {
  const groups = FORM.exec(text)?.groups
  const host = groups?.v6 ?? groups?.host
  const port = Number(groups?.port)
  if (host === undefined || port < portMin || port > PORT_MAX) {
    throw new PosternError('CONFIG_INVALID', `${JSON.stringify(text)} is not of the form host:port`)
  }
  return { host, port }
}

/** Returns an address as "host:port", or "[v6]:port". */
export function addressText({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${String(port)}`
}
