import { PosternError } from '../base/errors.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

const FORM = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<host>[^:[\]/\s]+)):(?<port>\d{1,5})$/
const PORT_MAX = 65_535

/** Reads "host:port" or "[v6]:port". @throws CONFIG_INVALID */
export function parseAddress(text: string): Address {
  const groups = FORM.exec(text)?.groups
  const host = groups?.v6 ?? groups?.host
  const port = Number(groups?.port)
  if (host === undefined || port > PORT_MAX) {
    throw new PosternError('CONFIG_INVALID', `${JSON.stringify(text)} is not of the form host:port`)
  }
  return { host, port }
}
