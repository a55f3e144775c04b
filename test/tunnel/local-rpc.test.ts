import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { PosternError } from '../../src/base/errors.ts'
import { Admin } from '../../src/gen/postern/v1/admin_pb.js'
import { offersOf } from '../../src/rpc/typed.ts'
import { callLocal, HUNG_UP, LocalServer } from '../../src/tunnel/local-rpc.ts'
import { AMBIENT } from '../support/ambient.ts'
import { rejection } from '../support/code-of.ts'

describe('calls over a local socket', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-local-'))
  const path = join(folder, 'run/a.sock')
  after(() => {
    rmSync(folder, { recursive: true })
  })

  async function serving(): Promise<LocalServer> {
    const local = new LocalServer(path, AMBIENT)
    const service = {
      status: () => ({ version: '1' }),
      listConnected: () => {
        throw new PosternError('RECORDS_UNUSABLE', 'the disk is gone: it was pulled')
      },
      async *drain() {
        yield { tunnels: 1 }
        await new Promise(() => undefined)
      },
    }
    for (const offer of offersOf(Admin, service)) local.server.offer(offer)
    await local.listen()
    return local
  }

  it('answer, and fail by the code and the text of the daemon', async () => {
    const local = await serving()
    expect(statSync(path).mode & 0o777).to.equal(0o600)
    const { version } = await callLocal(Admin, path, AMBIENT, (admin) => admin.status({}))
    expect(version).to.equal('1')
    const failed = callLocal(Admin, path, AMBIENT, (admin) => admin.listConnected({}))
    const { rawMessage } = await rejection(failed, 'RECORDS_UNUSABLE')
    expect(rawMessage).to.equal('the disk is gone: it was pulled')
    local.close()
  })

  it('end when the daemon goes, and say that it was there', async () => {
    const local = await serving()
    let heard = 0
    const watching = callLocal(Admin, path, AMBIENT, async (admin) => {
      for await (const { tunnels } of admin.drain({})) {
        heard += tunnels
        local.close()
      }
    })
    const { facts } = await rejection(watching, 'DAEMON_NOT_RUNNING')
    expect(facts.cause).to.equal(HUNG_UP)
    expect(heard).to.equal(1)
  })

  it('say why there is no answer: nothing listens, or something else does', async () => {
    const ask = () => callLocal(Admin, path, AMBIENT, (admin) => admin.status({}))
    expect((await rejection(ask(), 'DAEMON_NOT_RUNNING')).facts.cause).to.equal('ENOENT')
    const stranger: Server = createServer((socket) =>
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    )
    await new Promise<void>((resolve) => stranger.listen(path, resolve))
    const { message } = await rejection(ask(), 'DAEMON_NOT_RUNNING')
    expect(message).to.include('no daemon of ours')
    stranger.close()
  })
})
