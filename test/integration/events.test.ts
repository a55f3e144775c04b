import { expect } from 'chai'
import { ControlPlane } from '../support/control-plane.ts'
import { eventually } from '../support/eventually.ts'
import { runCli } from '../support/run-cli.ts'

describe('gateway events', function () {
  let plane: ControlPlane
  before(async () => {
    plane = await ControlPlane.start()
    await plane.enroll('a-1')
  })
  after(() => {
    plane.stop()
  })

  async function kinds(...args: readonly string[]): Promise<string[]> {
    const { status, stdout, stderr } = await plane.command('events', '--json', ...args)
    expect(status, stderr).to.equal(0)
    return stdout === ''
      ? []
      : stdout.split('\n').map((line) => (JSON.parse(line) as { kind: string }).kind)
  }

  it('are chosen by kind, by family of kinds and by time', async () => {
    expect(new Set(await kinds('--kind', 'token.*'))).to.deep.equal(new Set(['token.created']))
    const both = await kinds('--kind', 'token.created', '--kind', 'certificate.issued')
    expect(both).to.include.members(['token.created', 'certificate.issued'])
    expect(await kinds('--kind', 'token.revoked')).to.deep.equal([])
    expect(await kinds('--since', '1h')).to.include('certificate.issued')
    expect(await kinds('--since', '2999-01-01')).to.deep.equal([])
    for (const wrong of [
      ['--kind', "x' or 1"],
      ['--since', 'yesterday'],
      ['--since', '2026-13-45'],
    ])
      expect((await plane.command('events', ...wrong)).status, wrong.join(' ')).to.equal(64)
  })

  it('are followed, each once, until a signal', async () => {
    const lines: string[] = []
    let stop: () => void = () => undefined
    const run = runCli(
      'gateway',
      ['events', '--json', '--follow', '--kind', 'token.*', '--config', plane.configFile],
      {},
      {
        onResult: (text) => lines.push(...text.split('\n')),
        onStart: (given) => {
          stop = given
        },
      },
    )
    const before = await eventually(() => lines.length || undefined, 'those that were there')
    for (let i = 0; i < 3; i++) await plane.token()
    await eventually(() => lines.length >= before + 3, 'those that came')
    stop()
    expect((await run).status).to.equal(0)
    expect(new Set(lines).size).to.equal(before + 3)
  })
})
