import { writeFileSync } from 'node:fs'
import { EdgeStandIn } from '../test/support/cloudflare/edge.ts'
import { ACCESS, FrontStandIn, tokenText } from '../test/support/cloudflare/front.ts'
import { writeProgram, writeTunnelToken } from '../test/support/cloudflare/program.ts'
import { freePort } from './free-port.ts'

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
  const path = writeProgram(folder, edge, { real })
  const tokenFile = writeTunnelToken(folder)
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
