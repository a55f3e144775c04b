import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Address } from '../../base/address.ts'

const TABLE_BYTES_MAX = 8 * 1024 * 1024

/**
 * Whether a process has the other end of a connection within this machine, as proc_net_tcp(5) and its open files tell. Undefined: it
 * cannot be told, as where there is no /proc.
 */
export function hasSocket(pid: number, end: Address): boolean | undefined {
  try {
    const inode = inodeOf(end)
    if (inode === undefined) return undefined
    const folder = `/proc/${String(pid)}/fd`
    const wanted = `socket:[${inode}]`
    return readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === wanted)
  } catch {
    // Another user's process, or another system.
    return undefined
  }
}

/** The inode of the socket whose own end is this one. */
function inodeOf({ host, port }: Address): string | undefined {
  const local = `${hexOf(host)}:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const table = readFileSync('/proc/self/net/tcp', 'latin1')
  if (table.length > TABLE_BYTES_MAX) return undefined
  const at = table.indexOf(`: ${local} `)
  if (at === -1) return undefined
  const end = table.indexOf('\n', at)
  const inode = table.slice(at, end).trim().split(/\s+/)[9]
  return inode === '0' ? undefined : inode
}

/** An IPv4 address as that table has it: in the order of the machine's bytes, which is little-endian wherever Node runs. */
function hexOf(host: string): string {
  const bytes = host.split('.').map(Number).reverse()
  return bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, '0')).join('')
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    // It has been closed meanwhile.
    return undefined
  }
}
