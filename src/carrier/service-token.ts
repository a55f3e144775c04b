import { PosternError } from '../base/errors.ts'
import { readSecretFile } from '../identity/key-files.ts'

const ID = 'cf-access-client-id'
const SECRET = 'cf-access-client-secret'
const FORM =
  'two lines, as Cloudflare shows them: CF-Access-Client-Id: …, and CF-Access-Client-Secret: …'
const VALUE = /^[\x21-\x7e]{1,512}$/

/** What a program shows to Cloudflare Access in place of a person's login. */
export interface ServiceToken {
  readonly id: string
  /** Never logged. */
  readonly secret: string
}

/** Reads a service token from its file. @throws FILE_UNREADABLE, KEY_EXPOSED, CONFIG_INVALID, which quotes nothing of it */
export function readServiceToken(path: string): ServiceToken {
  const lines = readSecretFile(path)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const valueOf = (name: string, index: number): string => {
    const named = lines.find((line) => line.toLowerCase().startsWith(`${name}:`))
    const bare = lines.some((line) => line.includes(':')) ? undefined : lines[index]
    return (named?.slice(name.length + 1) ?? bare ?? '').trim()
  }
  const [id, secret] = [valueOf(ID, 0), valueOf(SECRET, 1)]
  if (lines.length !== 2 || !VALUE.test(id) || !VALUE.test(secret))
    throw new PosternError('CONFIG_INVALID', `${path} must hold ${FORM}`, { path })
  return { id, secret }
}
