import type { IncomingMessage } from 'node:http'
import { PosternError, printable, type ErrorCode } from '../base/errors.ts'

const LOGIN_PATH = '/cdn-cgi/access/login'
const RAY = /^[\x21-\x7e]{1,64}$/

/** Why a front did not open a WebSocket, with its status and the number by which Cloudflare finds the request. */
export function frontRefusal(
  peer: string,
  { statusCode = 0, headers }: IncomingMessage,
): PosternError {
  const { location = '', 'cf-ray': ray } = headers
  const [code, why] = judge(statusCode, location)
  const number = typeof ray === 'string' && RAY.test(ray) ? ray : undefined
  const text = `${peer} answered ${String(statusCode)}: ${why}${number === undefined ? '' : ` (cf-ray ${number})`}`
  const facts = { peer, httpStatus: statusCode, ...(number === undefined ? {} : { ray: number }) }
  return new PosternError(code, text, facts)
}

function judge(status: number, location: string): readonly [ErrorCode, string] {
  if (status >= 300 && status < 400)
    return isLogin(location)
      ? [
          'FRONT_LOGIN',
          'Cloudflare Access wants a login: the service token is missing, unknown, expired or revoked, or the policy of the application takes no service token',
        ]
      : ['FRONT_REFUSED', `it leads elsewhere, to ${printable(location)}, which is not followed`]
  if (status === 403)
    return [
      'FRONT_FORBIDDEN',
      'Cloudflare Access, or a rule of the zone, forbids it: the service token may not use this application, or a firewall rule or bot protection holds it up',
    ]
  if ((status >= 200 && status < 300) || status === 400 || status === 426)
    return [
      'FRONT_NO_WEBSOCKET',
      'it answered as to an ordinary request: WebSockets are off in that zone, or something in between takes them away',
    ]
  if (status === 530 || status === 502 || status === 503 || status === 504)
    return [
      'FRONT_REFUSED',
      'no connector is there, or it does not reach the tcp:// target of its ingress',
    ]
  if (status === 404) return ['FRONT_REFUSED', 'no ingress of the connector is for this host name']
  return ['FRONT_REFUSED', 'it opens no WebSocket']
}

/** Cloudflare Access sends to a page of its own on the host that was asked, or on that of the team. */
function isLogin(location: string): boolean {
  const url = URL.parse(location, 'https://front.invalid')
  if (url === null) return false
  return url.pathname.startsWith(LOGIN_PATH) || url.hostname.endsWith('.cloudflareaccess.com')
}
