/** An executor of tasks, as a customer would write one: it serves postern.dataplane.v1.Tasks as JSON over HTTP, and runs nothing. */
import { createServer } from 'node:http'

const PATH = /^\/postern\.dataplane\.v1\.Tasks\/(Dispatch|Status|Abort)$/
const PHASES = { Dispatch: 'PHASE_QUEUED', Status: 'PHASE_SUCCEEDED', Abort: 'PHASE_ABORTED' }

const server = createServer((request, response) => {
  request.resume()
  request.on('end', () => {
    const method = PATH.exec(request.url ?? '')?.[1] as keyof typeof PHASES | undefined
    if (method === undefined) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ phase: PHASES[method] }))
  })
})
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  console.log('the executor listens')
})
process.once('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
})
