import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../base/errors.ts'
import { AGENT_UNIT, EXAMPLE_CONFIG } from './service-texts.ts'
import {
  fileStep,
  isSystemd,
  removeStep,
  systemctlStep,
  unitPath,
  unitState,
  userStep,
  type ServicePlace,
  type Step,
} from './service-files.ts'
import type { AddCommand, Surroundings } from './program.ts'

const UNIT = 'postern-agent.service'
const FACTS = {
  unit: UNIT,
  user: 'postern-agent',
  home: '/var/lib/postern',
  configFile: '/etc/postern/agent.yaml',
} as const
const NEXT = `Next: fill in ${FACTS.configFile}, enrol (runuser -u ${FACTS.user} -- agent enroll --help), and run: systemctl enable --now ${UNIT}`
const NOT_INSTALLED = 1
const NOT_RUNNING = 3

const COMMON_OPTIONS = {
  'dry-run': {
    type: 'boolean',
    default: false,
    describe: 'Print what would be done, and do nothing.',
  },
  root: {
    type: 'string',
    default: '/',
    requiresArg: true,
    describe: 'Root of the file system to install into, for images; nothing is started there.',
  },
} as const

/** `agent service`: the agent as a service of systemd. */
export const agentService: AddCommand = (yargs, surroundings, done) =>
  yargs.command('service', 'Install the agent as a service of systemd.', (y) =>
    y
      .command(
        'install',
        'Make its user, its unit and, where there is none, a settings file with every option explained; enable and start it. As root; done again, it changes only what differs.',
        (inner) =>
          inner
            .options(COMMON_OPTIONS)
            .option('program', {
              type: 'string',
              default: '/usr/bin/agent',
              requiresArg: true,
              describe: 'Path of the program that the unit starts.',
            })
            .option('start', {
              type: 'boolean',
              default: true,
              describe: 'Enable and start it; --no-start leaves that to you.',
            }),
        (args) => {
          const { root, program, start } = args
          const act = (): number => {
            // A file that still has to be filled in is no reason to start.
            const isSet = existsSync(join(root, FACTS.configFile))
            perform(installSteps({ root }, program, start && isSet), args['dry-run'], surroundings)
            if (!isSet) surroundings.output.note(NEXT)
            return 0
          }
          done(Promise.resolve().then(act))
        },
      )
      .command(
        'uninstall',
        'Stop it, and remove its unit; settings, certificates and the user stay. As root.',
        (inner) => inner.options(COMMON_OPTIONS),
        (args) => {
          const act = (): number => {
            perform(uninstallSteps({ root: args.root }), args['dry-run'], surroundings)
            return 0
          }
          done(Promise.resolve().then(act))
        },
      )
      .command(
        'status',
        'Say whether it is installed, enabled and running. Exit 0: it runs, 1: not installed, 3: installed, and does not run.',
        (inner) =>
          inner.option('root', COMMON_OPTIONS.root).option('json', {
            type: 'boolean',
            default: false,
            describe: 'Print one JSON object.',
          }),
        ({ root, json }) => {
          done(Promise.resolve().then(() => show({ root }, json, surroundings)))
        },
      )
      .demandCommand(1, 'Name one of: install, uninstall, status.'),
  )

function installSteps(place: ServicePlace, program: string, start: boolean): Step[] {
  if (!/^\/[\w./-]+$/.test(program))
    throw new PosternError(
      'USAGE',
      '--program must be an absolute path of letters, digits and ./-_',
    )
  const unit = AGENT_UNIT.replace('ExecStart=/usr/bin/agent ', `ExecStart=${program} `)
  const steps = [
    userStep(place, FACTS),
    fileStep(place, `/etc/systemd/system/${UNIT}`, unit, true),
    fileStep(place, FACTS.configFile, EXAMPLE_CONFIG, false),
    systemctlStep(place, ['daemon-reload']),
  ]
  const isUp = (): boolean => Object.values(unitState(UNIT)).every((is) => is)
  const enable = systemctlStep(place, ['enable', '--now', UNIT], isUp)
  return start ? [...steps, enable] : steps
}

function uninstallSteps(place: ServicePlace): Step[] {
  const isGone = (): boolean => !existsSync(unitPath(place, UNIT))
  return [
    systemctlStep(place, ['disable', '--now', UNIT], isGone),
    removeStep(place, `/etc/systemd/system/${UNIT}`),
    systemctlStep(place, ['daemon-reload']),
  ]
}

function perform(steps: readonly Step[], isDry: boolean, { output }: Surroundings): void {
  if (!isDry && process.getuid?.() !== 0)
    throw new PosternError(
      'INSTALL_FAILED',
      'this changes the system: run it as root, or with --dry-run',
    )
  for (const step of steps) {
    if (step.isDone()) output.result(`ok      ${step.what}: nothing to do`)
    else if (isDry) output.result(`would   ${step.what}`)
    else {
      step.act()
      output.result(`done    ${step.what}`)
    }
  }
}

function show(place: ServicePlace, json: boolean, { output }: Surroundings): number {
  const path = unitPath(place, UNIT)
  const isInstalled = existsSync(path)
  const isCurrent = isInstalled && sameBut(readFileSync(path, 'utf8'), AGENT_UNIT)
  const isAsked = isInstalled && place.root === '/' && isSystemd()
  const { enabled, active } = isAsked ? unitState(UNIT) : { enabled: false, active: false }
  if (json)
    output.result(
      JSON.stringify({ unit: path, installed: isInstalled, current: isCurrent, enabled, active }),
    )
  else if (!isInstalled) output.result(`${UNIT} is not installed; agent service install does it`)
  else {
    const words = [
      isCurrent ? 'installed' : 'installed, and differs from that of this version',
      enabled ? 'enabled' : 'not enabled',
      active ? 'running' : 'not running',
    ]
    output.result(`${path}: ${words.join(', ')}`)
  }
  return active ? 0 : isInstalled ? NOT_RUNNING : NOT_INSTALLED
}

/** The path of the program is whoever's installed it. */
function sameBut(text: string, other: string): boolean {
  const plain = (unit: string): string => unit.replace(/^ExecStart=\S+/m, 'ExecStart=')
  return plain(text) === plain(other)
}
