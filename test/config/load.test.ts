import { expect } from 'chai'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAddress } from '../../src/base/address.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { loadSettings, type Loaded } from '../../src/config/load.ts'
import { duration, integer, text } from '../../src/config/setting.ts'
import { codeOf } from '../support/code-of.ts'

const TABLE = {
  'a.name': text('A name.'),
  'a.count': integer('A count.', 5, { min: 1, max: 10 }),
  'a.waitTime': duration('A wait.', '10s', ['1s', '1m']),
}

describe('settings', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-settings-'))
  const file = (content: string): string => {
    const path = join(folder, 'settings.yaml')
    writeFileSync(path, content)
    return path
  }
  const load = (
    content: string | undefined,
    flags: Record<string, string> = {},
    environment: Record<string, string> = {},
  ): Loaded<typeof TABLE> =>
    loadSettings(TABLE, {
      flags,
      environment,
      file: content === undefined ? undefined : file(content),
    })

  it('come from flag before environment before file before default', () => {
    const content = 'a: { name: file, count: 2, waitTime: 2s }'
    const environment = { POSTERN_A_NAME: 'environment', POSTERN_A_COUNT: '3' }
    expect(load(content, { 'a.name': 'flag' }, environment)).to.deep.equal({
      values: { 'a.name': 'flag', 'a.count': 3, 'a.waitTime': 2000 },
      origins: { 'a.name': 'flag', 'a.count': 'environment', 'a.waitTime': 'file' },
    })
    expect(load('a.name: x').origins['a.count']).to.equal('default')
  })

  it('name the line of a fault in the file, of an entry of a list its own', () => {
    const path = file(`trustDomain: example.com
gateway: { address: "localhost:1" }
policy:
  file: /etc/p
  fiel: x
services:
  - { name: a, target: "tls://h:1", dataType: service-traffic }
  - name: b
    target: https://h:1
probe.exec: maybe
`)
    const read = () => loadSettings(AGENT_SETTINGS, { flags: {}, environment: {}, file: path })
    const { message } = codeOf(read, 'CONFIG_INVALID')
    expect(message).to.include('settings.yaml:5: unknown key policy.fiel')
    expect(message).to.include('settings.yaml:8: services entry 2: service b: dataType is missing')
    expect(message).to.include('settings.yaml:10: probe.exec must be one of')
  })

  it('name every fault at once, and where it is', () => {
    const error = codeOf(
      () => load('a: { naem: x, wait-time: 2s }', {}, { POSTERN_A_COUNT: '11' }),
      'CONFIG_INVALID',
    )
    expect(error.message).to.include('POSTERN_A_COUNT must be from 1 to 10, not 11')
    expect(error.message).to.include('unknown key a.naem')
    expect(error.message).to.include('unknown key a.wait-time (did you mean a.waitTime?)')
    expect(error.message).to.include('a.name is missing: give --a-name, POSTERN_A_NAME or a.name')
  })

  for (const [what, content] of [
    ['broken YAML', 'a: [1'],
    ['a list at the top', '- a'],
    ['aliases, which could grow without bound', 'x: &x [1]\na: *x'],
    ['more than 1 MiB', `# ${'x'.repeat(1024 * 1024)}`],
  ] as const) {
    it(`refuse a file with ${what}`, () => {
      codeOf(() => load(content), 'CONFIG_UNREADABLE')
    })
  }

  it('refuse a file that is not there', () => {
    const read = (): unknown =>
      loadSettings(TABLE, { flags: {}, environment: {}, file: join(folder, 'none.yaml') })
    expect(codeOf(read, 'CONFIG_UNREADABLE').message).to.include('none.yaml')
  })

  it('cannot be made to touch prototypes', () => {
    codeOf(() => load('a.name: x\n__proto__: { polluted: 1 }'), 'CONFIG_INVALID')
    expect(({} as { polluted?: unknown }).polluted).to.equal(undefined)
  })

  it('take whole numbers, spans and sizes in their units only', () => {
    for (const count of ['1.5', '1e1', '0x5', '', 'five'])
      codeOf(() => load('a.name: x', { 'a.count': count }), 'CONFIG_INVALID')
    for (const wait of ['10', '10 s', '1d', '-5s', '999ms', '61s'])
      codeOf(() => load('a.name: x', { 'a.waitTime': wait }), 'CONFIG_INVALID')
  })

  it('of the agent refuse rows that are wrong in any field', () => {
    const services = (row: object): unknown =>
      AGENT_SETTINGS.services.parse([
        { name: 'db', target: 'tcp://[::1]:1', dataType: 'service-traffic', ...row },
      ])
    expect(services({})).to.deep.equal([
      {
        name: 'db',
        protocol: 'tcp',
        target: { host: '::1', port: 1 },
        dataType: 'service-traffic',
      },
    ])
    expect(services({ target: 'http://[::1]' })).to.deep.include.deep.members([
      {
        name: 'db',
        protocol: 'http',
        target: { host: '::1', port: 80 },
        dataType: 'service-traffic',
      },
    ])
    for (const row of [
      { name: 'DB' },
      { name: '' },
      { target: 'h:1' },
      { target: 'tcp://[::1]' },
      { target: 'tcp://[::1]:0' },
      { target: 'tcp://h:1' },
      { target: 'tcp://user@h:1' },
      { target: 'wss://h' },
      { dataType: 5 },
      { dataType: undefined },
      { dataType: 'own' },
      { dataType: 'task-log' },
      { dataType: 'task-io', target: 'http://h' },
      { extra: true },
    ])
      expect(() => services(row), JSON.stringify(row)).to.throw('entry 1')
    for (const row of [{ caller: 'UPPER' }, { caller: 'x', methods: 'all' }, { callers: '*' }])
      expect(() => AGENT_SETTINGS.allow.parse([row])).to.throw('entry 1')
  })

  it('read addresses exactly', () => {
    expect(parseAddress('[::1]:5')).to.deep.equal({ host: '::1', port: 5 })
    for (const bad of ['h', 'h:', ':5', 'h:70000', '::1:5', 'h:5x', 'h h:5', '[h]:5', 'h:-1'])
      codeOf(() => parseAddress(bad), 'CONFIG_INVALID')
  })

  it('shows no password of a proxy, and no argument or query of a probe', () => {
    const proxy = AGENT_SETTINGS['gateway.proxy']
    for (const [url, shown] of [
      ['http://proxy:3128', 'http://proxy:3128'],
      ['http://edge@proxy:3128', 'http://edge@proxy:3128'],
      ['http://edge:secret@proxy:3128', 'http://edge:…@proxy:3128'],
      ['http://edge:sec:ret@proxy:3128', 'http://edge:…@proxy:3128'],
      ['http://edge:s@cr/et@proxy:3128', 'http://edge:…@proxy:3128'],
      ['edge:secret@proxy:3128', 'edge:…@proxy:3128'],
    ])
      expect(proxy.format(url)).to.equal(shown)
    const { probes } = AGENT_SETTINGS
    const command = ['pg_isready', '-d', 'postgres://u:secret@db']
    const rows = [
      { service: 'db', type: 'exec', command },
      { service: 'web', type: 'http', path: '/x?token=secret' },
    ]
    const text = probes.format(probes.parse(rows))
    expect(text).to.include('pg_isready').and.include('… 2 arguments').and.not.include('secret')
  })
})
