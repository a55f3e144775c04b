export interface HttpResponse {
  readonly status: number
  /** Names in their usual case: there are clients that compare bytes. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
}

export function json(status: number, value: object): HttpResponse {
  const headers = { 'Content-Type': 'application/json' }
  return { status, headers, body: `${JSON.stringify(value)}\n` }
}

export function notAllowed(method: string): HttpResponse {
  const answer = text(405, `this takes ${method}`)
  return { ...answer, headers: { ...answer.headers, Allow: method } }
}

export function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body: `${body}\n` }
}
