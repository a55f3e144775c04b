import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP proxy that holds every byte for `oneWayMs`, in each direction. */
async function start({ port, oneWayMs }: { port: number; oneWayMs: number }): Promise<number> {
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', noDelay: true })
    relay(near, far, oneWayMs)
    relay(far, near, oneWayMs)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

function relay(from: Socket, to: Socket, oneWayMs: number): void {
  const queue: { chunk: Buffer; atMs: number }[] = []
  let isWaiting = false
  const flush = (): void => {
    isWaiting = false
    const nowMs = performance.now()
    while (queue[0] !== undefined && queue[0].atMs <= nowMs)
      to.write((queue.shift() as { chunk: Buffer }).chunk)
    arm()
  }
  const arm = (): void => {
    if (isWaiting || queue[0] === undefined) return
    isWaiting = true
    setTimeout(flush, Math.max(0, queue[0].atMs - performance.now()))
  }
  from.on('data', (chunk: Buffer) => {
    queue.push({ chunk, atMs: performance.now() + oneWayMs })
    arm()
  })
  from.on('close', () => setTimeout(() => to.destroy(), oneWayMs))
  from.on('error', () => undefined)
}

export const role = { start }
