/** An answer of one of our HTTP listeners. */
export interface HttpResponse {
  readonly status: number
  /** Names in their usual case: there are clients that compare bytes. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
}

/** Makes an answer with a JSON body. */
export function json(status: number, value: object): HttpResponse {
  const headers = { 'Content-Type': 'application/json' }
  return { status, headers, body: `${JSON.stringify(value)}\n` }
}

/** Makes the answer 405, which names the methods that are allowed (RFC 9110 section 15.5.6). */
export function notAllowed(method: string): HttpResponse {
  const answer = text(405, `this takes ${method}`)
  return { ...answer, headers: { ...answer.headers, Allow: method } }
}

/** Makes an answer with a body in plain text. */
export function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body: `${body}\n` }
}
