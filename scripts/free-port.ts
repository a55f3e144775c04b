import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Below those that systems hand out for connections by themselves (32768 and on), which anybody may hold in the next moment. */
const [PORT_MIN, PORT_MAX] = [10_000, 32_000]
const given = new Set<number>()

/** A port of loopback that nobody listens on at this moment, and that this process is given once. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORT_MIN, PORT_MAX)
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    return port
  }
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => {
      resolve(false)
    })
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true)
      })
    })
  })
}
