import { expect } from 'chai'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { registryFindings } from '../../src/agent/posture/registries.ts'
import { readExecutor } from '../../src/config/executor-row.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { Moto, MOTO_CREDENTIALS } from '../support/moto.ts'

const HOST = '123456789012.dkr.ecr.eu-west-1.amazonaws.com'

/** Against moto's ECR. */
describe('how registries keep images', () => {
  let moto: Moto
  let folder: string
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-ecr-'))
    writeFileSync(join(folder, 'aws'), MOTO_CREDENTIALS, { mode: 0o600 })
    moto = await Moto.start()
    const kms = { encryptionConfiguration: { encryptionType: 'KMS', kmsKey: 'k' } }
    for (const [repositoryName, more] of [
      ['team/one', {}],
      ['team/two', kms],
      ['other/three', {}],
    ] as const) {
      const target = 'AmazonEC2ContainerRegistry_V20150921.CreateRepository'
      await moto.ask('ecr', target, { repositoryName, ...more })
    }
  })
  after(() => {
    moto.stop()
    rmSync(folder, { recursive: true })
  })
  const look = async (images: readonly string[], file = 'aws') => {
    const row = readExecutor({ name: 'e', url: 'http://127.0.0.1:1', images })
    const place = {
      ...{ clock: new FakeClock(Date.now()), endpoint: new URL(moto.url) },
      credentials: { credentialsFile: join(folder, file) },
    }
    const found = await registryFindings([row], place, new AbortController().signal)
    return found.map(({ subject, outcome, evidence }) => [subject, outcome, evidence])
  }

  it('is told by Amazon, of the repositories that are named alone', async () => {
    expect(await look([`${HOST}/team/*`])).to.deep.equal([
      [HOST, 'OK', 'Amazon ECR encrypts every repository: 1 by AES256, 1 by KMS'],
    ])
    expect((await look([`${HOST}/other/three`]))[0]?.[2]).to.include('1 by AES256')
  })

  it('is unknown where nothing tells', async () => {
    const none = await look([`${HOST}/none/*`, 'registry.internal/team/*'])
    expect(none.map(([, outcome]) => outcome)).to.deep.equal(['UNKNOWN', 'UNKNOWN'])
    expect((await look([`${HOST}/team/*`], 'none'))[0]?.[1]).to.equal('UNKNOWN')
  })
})
