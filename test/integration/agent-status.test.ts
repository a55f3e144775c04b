import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { expect } from 'chai'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StatusJson } from '../support/status-now.ts'
import { Daemons } from '../support/daemons.ts'
import { eventually } from '../support/eventually.ts'

const SCHEMA = new URL('../../schemas/agent-status.schema.json', import.meta.url)

type Field = Readonly<Record<string, unknown>>

/** The schema with no field beyond those that it names. */
function closed(schema: Field): Field {
  const entries = Object.entries(schema).map(([key, value]) => [key, closeBelow(value)])
  const same = Object.fromEntries(entries) as Field
  return same.properties === undefined || same.type === undefined
    ? same
    : { additionalProperties: false, ...same }
}

function closeBelow(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closeBelow)
  if (typeof value === 'object' && value !== null) return closed(value as Field)
  return value
}

describe('agent status', function () {
  let daemons: Daemons
  const schema = closed(JSON.parse(readFileSync(SCHEMA, 'utf8')) as Field)
  const validate = formats
    .default(new Ajv2020({ allErrors: true, allowUnionTypes: true }))
    .compile(schema)

  beforeEach(async () => {
    daemons = await Daemons.create()
  })
  afterEach(() => {
    daemons.stop()
  })

  async function status(...more: string[]): Promise<{ status: number; text: string }> {
    const file = await daemons.settings('agent')
    return await daemons.run('agent', 'status', '--config', file, ...more)
  }

  function judged(
    text: string,
  ): { running: boolean } & { savedAt?: string; last?: StatusJson } & Partial<StatusJson> {
    const value: unknown = JSON.parse(text.trim().split('\n').at(-1) ?? '')
    expect(validate(value), JSON.stringify(validate.errors)).to.equal(true)
    return value as { running: boolean }
  }

  it('says what happened, and says it by its schema: healthy, down and not running', async () => {
    const gateway = await daemons.startGateway({ canary: { interval: '1s' } })
    const services = [{ name: 'web', target: 'tcp://127.0.0.1:1', dataType: 'service-traffic' }]
    const probes = [{ service: 'web', type: 'tcp', interval: '1s' }]
    const agent = await daemons.startAgent({ services, probes, health: { delay: '0s' } })
    await eventually(async () => {
      const { services: [web] = [], tunnels: [tunnel] = [] } = judged((await status('--json')).text)
      return web?.health?.up === false && tunnel?.canary !== null
    }, 'the probe and the canary have run')
    gateway.process.kill('SIGKILL')
    await eventually(async () => judged((await status('--json')).text).health === 'down', 'down')
    for (const words of [
      'service: web is down',
      'tunnel-up: with gw-1',
      'attention',
      // Between two tries; one may be under way.
      'next try in',
    ])
      await eventually(async () => (await status()).text.includes(words), words)
    agent.process.kill('SIGKILL')
    await agent.ended
    const gone = await status('--json')
    const { running, savedAt, last } = judged(gone.text) as never as {
      running: boolean
      savedAt: string
      last: StatusJson
    }
    expect([gone.status, running]).to.deep.equal([3, false])
    expect(Date.now() - Date.parse(savedAt)).to.be.within(0, 60_000)
    expect(last.events.map(({ kind }) => kind)).to.include.members([
      'started',
      'tunnel-up',
      'tunnel-down',
    ])
    const text = await status()
    expect(text.text).to.include('not running; what was last known').and.include('journalctl')
    expect(statSync(join(daemons.pki.folder, 'state/last-status.json')).mode & 0o777).to.equal(
      0o600,
    )
  })

  it('remembers over a restart what happened before it', async () => {
    await daemons.startGateway()
    const agent = await daemons.startAgent()
    agent.process.kill('SIGTERM')
    await agent.ended
    await daemons.startAgent()
    const { events = [] } = judged((await status('--json')).text)
    const kinds = events.map(({ kind }) => kind)
    expect(kinds.filter((kind) => kind === 'started').length).to.equal(2)
    expect(kinds).to.include('stopping')
  })

  it('without a daemon, and with a last state that is spoilt or of another version, is short', async () => {
    expect(judged((await status('--json')).text)).to.deep.equal({
      running: false,
      savedAt: null,
      failedStart: null,
      last: null,
    })
    const gateway = await daemons.startGateway()
    const agent = await daemons.startAgent()
    agent.process.kill('SIGTERM')
    await agent.ended
    gateway.process.kill('SIGTERM')
    const path = join(daemons.pki.folder, 'state/last-status.json')
    for (const spoilt of [
      '{',
      '7',
      'null',
      '{"savedAt":"x"}',
      '{"savedAt":"x","status":{"version":"0"}}',
    ]) {
      writeFileSync(path, spoilt)
      const { status: exit, text } = await status()
      expect([exit, text.includes('DAEMON_NOT_RUNNING'), text.includes('INTERNAL')]).to.deep.equal([
        3,
        true,
        false,
      ])
    }
  })

  it('--watch shows it again and again, until it is told to stop', async () => {
    await daemons.startGateway()
    await daemons.startAgent()
    const file = await daemons.settings('agent')
    const watching = daemons.start('agent', 'status', '--watch', '--json', '--config', file)
    await eventually(() => watching.text.trim().split('\n').length >= 3, 'three lines')
    watching.process.kill('SIGINT')
    expect(await watching.ended).to.equal(0)
    for (const line of watching.text.trim().split('\n')) expect(judged(line).running).to.equal(true)
  })
})
