import { expect } from 'chai'
import { command, group } from '../../src/cli/program/program.ts'
import { readCommandLine } from '../../src/cli/program/command-line.ts'
import { rejection } from '../support/code-of.ts'

const SERVE = command({
  path: 'serve <place> [times]',
  describe: 'Serve.',
  options: {
    place: { type: 'string', required: true, describe: 'Where.' },
    times: { type: 'string', describe: 'How often.' },
    key: { type: 'string', choices: ['p256', 'p384'], default: 'p256', describe: 'Kind.' },
    name: { type: 'strings', describe: 'Names.' },
    force: { type: 'boolean', default: false, describe: 'Go on.' },
    start: { type: 'boolean', default: true, describe: 'Start it.' },
  },
  run: () => 0,
})
const COMMANDS = [SERVE, group({ path: 'sub', describe: 'More.', commands: [SERVE] })]

describe('the command line', () => {
  const read = async (...line: string[]) =>
    (await readCommandLine('prog', '', COMMANDS, line))?.args ?? {}

  it('gives a command its options by their types and defaults, and the command itself', async () => {
    const found = await readCommandLine('prog', '', COMMANDS, ['serve', 'here'])
    expect(found?.command).to.equal(SERVE)
    expect(found?.args.times).to.equal(undefined)
    expect(found?.args).to.deep.include({
      place: 'here',
      key: 'p256',
      name: [],
      force: false,
      start: true,
    })
  })

  it('takes lists, opposites, and the last of what is given twice', async () => {
    const args = await read(
      'sub',
      'serve',
      'here',
      '7',
      '--name',
      'a',
      'b',
      '--no-start',
      '--key',
      'p256',
      '--key',
      'p384',
    )
    expect(args).to.deep.include({ times: '7', name: ['a', 'b'], start: false, key: 'p384' })
  })

  it('keeps numbers as they are written', async () => {
    expect((await read('serve', '007')).place).to.equal('007')
  })

  it('refuses with USAGE what it does not know, lacks, or cannot be', async () => {
    for (const [line, what] of [
      [[], 'Name a command'],
      [['sub'], 'Name it: serve.'],
      [['serve'], 'Not enough'],
      [['serve', 'here', '--colour', 'red'], 'colour'],
      [['serve', 'here', '--key', 'rsa'], 'p384'],
      [['serve', 'here', '--key'], 'Not enough arguments following: key'],
      [['serv', 'here'], 'Did you mean serve?'],
    ] as const) {
      const error = await rejection(readCommandLine('prog', '', COMMANDS, line), 'USAGE')
      expect(error.message, line.join(' ')).to.include(what)
    }
  })
})
