import { chmodSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { EdgeStandIn } from '../test/support/cloudflare/edge.ts'
import { ACCESS, FrontStandIn, tokenText } from '../test/support/cloudflare/front.ts'
import { freePort } from './free-port.ts'

const FAKE = fileURLToPath(
  new URL('../test/support/cloudflare/fake-cloudflared.ts', import.meta.url),
)
const TOKEN = {
  a: 'account',
  t: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  s: 'c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXg=',
}

/** What gateway and agent need to know of a Cloudflare on this machine. */
export interface CloudflareAtHome {
  readonly what: string
  readonly gateway: object
  readonly agent: object
  stop(): void
}

/** Starts a stand-in for Cloudflare's front and edge, for a cloudflared: that of CLOUDFLARED_BIN, or a stand-in too. */
export async function startCloudflare(folder: string): Promise<CloudflareAtHome> {
  const front = await FrontStandIn.start(folder)
  const edge = await EdgeStandIn.start(folder)
  front.routes.set('localhost', edge.upgrade)
  const listen = `127.0.0.1:${String(await freePort())}`
  edge.ingress = `tcp://${listen}`
  const real = process.env.CLOUDFLARED_BIN
  const path = `${folder}/cloudflared`
  const place = `127.0.0.1:${String(edge.port)}`
  const own = `TUNNEL_EDGE=${place},${place} TUNNEL_CACERT='${edge.caFile}' FAKE_SELF='${path}'`
  const program = real === undefined ? `'${process.execPath}' '${FAKE}'` : `'${real}'`
  writeFileSync(path, `#!/bin/sh\nexport ${own}\nexec ${program} "$@"\n`)
  chmodSync(path, 0o755)
  const tokenFile = `${folder}/tunnel-token`
  const token = Buffer.from(JSON.stringify(TOKEN)).toString('base64')
  writeFileSync(tokenFile, token, { mode: 0o600 })
  writeFileSync(front.tokenFile, tokenText(ACCESS), { mode: 0o600 })
  const row = {
    address: `localhost:${String(front.port)}`,
    caFile: front.caFile,
    serviceTokenFile: front.tokenFile,
  }
  return {
    what: `a stand-in for Cloudflare on port ${String(front.port)}, with ${real ?? 'a stand-in for cloudflared'}`,
    gateway: { fronts: [row] },
    agent: {
      via: ['cloudflare-connector'],
      cloudflared: { path, tokenFile, listen, protocol: 'http2' },
    },
    stop: () => {
      front.stop()
      edge.stop()
    },
  }
}
