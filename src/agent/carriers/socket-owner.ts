import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Address } from '../../base/address.ts'

/** What stands before an IPv4 address that an IPv6 socket has (RFC 4291, section 2.5.5.2), as the table has it. */
const MAPPED = '0000000000000000FFFF0000'

/**
 * Whether a process has the other end of a connection within this machine, as proc_net_tcp(5) and its open files tell. Undefined: it
 * cannot be told, as where there is no /proc.
 */
export function hasSocket(pid: number, end: Address): boolean | undefined {
  try {
    const inode = inodeOf(end)
    // Whoever has connected has a line, as long as it has not gone: without one it is none of ours.
    if (inode === undefined) return false
    const folder = `/proc/${String(pid)}/fd`
    const wanted = `socket:[${inode}]`
    return readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === wanted)
  } catch {
    // Another user's process, or another system.
    return undefined
  }
}

/** The inode of the socket whose own end is this one, as an IPv4 socket or as an IPv6 one. @throws where there is no such table */
function inodeOf({ host, port }: Address): string | undefined {
  const local = `${hexOf(host)}:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return inodeIn('tcp', local) ?? inodeIn('tcp6', `${MAPPED}${local}`)
}

function inodeIn(kind: 'tcp' | 'tcp6', local: string): string | undefined {
  const table = readFileSync(`/proc/self/net/${kind}`, 'latin1')
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
