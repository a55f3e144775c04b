import { createVerify, type KeyObject } from 'node:crypto'
import type { KeyFilePaths } from '../../../src/identity/key-files.ts'
import { StandIn, type Answered, type Asked } from './stand-ins.ts'

/** Secret Manager, as cloud.google.com/secret-manager/docs/reference/rest says, for one service account. */
export class GcpStandIn extends StandIn {
  /** Versions of each secret, in base64, by its id. */
  readonly held = new Map<string, string[]>()
  readonly #key: KeyObject

  constructor(files: KeyFilePaths, key: KeyObject) {
    super(files)
    this.#key = key
  }

  protected override answer({ method, url, headers, text }: Asked): Answered {
    const [head = '', claims = '', signature = ''] = (headers.authorization ?? '')
      .replace('Bearer ', '')
      .split('.')
    const isSigned = createVerify('sha256')
      .update(`${head}.${claims}`)
      .verify(this.#key, signature, 'base64url')
    if (!isSigned) return { status: 401 }
    const [, id = '', verb = ''] =
      /^\/v1\/projects\/acme-project\/secrets(?:\/([A-Za-z0-9_-]{1,255}))?(:addVersion)?$/.exec(
        url.pathname,
      ) ?? []
    const name = (of: string): string => `projects/123/secrets/${of}`
    if (method === 'GET' && id === '') return this.#list(url, name)
    if (method === 'POST' && id === '') {
      const wanted = url.searchParams.get('secretId') ?? ''
      const { replication } = JSON.parse(text) as { replication?: unknown }
      if (!/^[A-Za-z0-9_-]{1,255}$/.test(wanted) || replication === undefined)
        return { status: 400 }
      if (this.held.has(wanted)) return { status: 409 }
      this.held.set(wanted, [])
      return { status: 200, body: { name: name(wanted) } }
    }
    const versions = this.held.get(id)
    if (versions === undefined) return { status: 404 }
    if (method === 'POST' && verb === ':addVersion') {
      versions.push((JSON.parse(text) as { payload: { data: string } }).payload.data)
      return { status: 200, body: { name: `${name(id)}/versions/${String(versions.length)}` } }
    }
    if (method !== 'DELETE') return { status: 405 }
    this.held.delete(id)
    return { status: 200, body: {} }
  }

  /** Two to a page, so that a reader must go on. */
  #list(url: URL, name: (of: string) => string): Answered {
    const from = Number(url.searchParams.get('pageToken') ?? 0)
    const all = [...this.held.keys(), 'of-somebody-else', 'postern-odd']
    const secrets = all
      .slice(from, from + 2)
      .map((id) => ({ name: name(id), createTime: '2026-11-01T10:00:00.5Z' }))
    const next = from + 2 < all.length ? { nextPageToken: String(from + 2) } : {}
    return { status: 200, body: { secrets, ...next } }
  }
}

/** Key Vault, as learn.microsoft.com/rest/api/keyvault/secrets says, for whoever has a token of the platform. */
export class KeyVaultStandIn extends StandIn {
  readonly held = new Map<string, { value: string; contentType: string }>()
  /** Where lists go on; empty: here. */
  elsewhere = ''
  #version = 0

  protected override answer({ method, url, headers, text }: Asked): Answered {
    const [, claims = ''] = (headers.authorization ?? '').replace('Bearer ', '').split('.')
    const { aud } = JSON.parse(Buffer.from(claims, 'base64url').toString() || '{}') as {
      aud?: string
    }
    if (aud !== 'https://vault.azure.net') return { status: 401 }
    if (url.searchParams.get('api-version') !== '7.4') return { status: 400 }
    const [, name = ''] = /^\/secrets(?:\/([0-9a-zA-Z-]{1,127}))?$/.exec(url.pathname) ?? []
    const origin = `https://${headers.host ?? ''}`
    if (method === 'GET' && name === '') {
      const from = Number(url.searchParams.get('$skiptoken') ?? 0)
      const all = [...this.held.keys(), 'of-somebody-else']
      const value = all
        .slice(from, from + 2)
        .map((one) => ({ id: `${origin}/secrets/${one}`, attributes: { created: 1_793_500_000 } }))
      const more = `/secrets?api-version=7.4&$skiptoken=${String(from + 2)}`
      const nextLink = from + 2 < all.length ? `${this.elsewhere || origin}${more}` : null
      return { status: 200, body: { value, nextLink } }
    }
    if (method === 'PUT') {
      const { value, contentType } = JSON.parse(text) as { value: string; contentType: string }
      this.held.set(name, { value, contentType })
      return { status: 200, body: { id: `${origin}/secrets/${name}/v${String(++this.#version)}` } }
    }
    if (method !== 'DELETE') return { status: 405 }
    return { status: this.held.delete(name) ? 200 : 404, body: {} }
  }
}
