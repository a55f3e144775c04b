import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import { EXAMPLE_CONFIG } from './example-config.ts'
import { AGENT_UNIT, GATEWAY_UNIT } from './units.ts'
import {
  fileStep,
  isSystemd,
  removeStep,
  systemctlStep,
  unitPath,
  unitState,
  userStep,
  type ServiceFacts,
  type ServicePlace,
  type Step,
} from './files.ts'
import {
  command,
  type Command,
  type CommandGroup,
  group,
  JSON_OPTION,
  type OptionTable,
  type Surroundings,
} from '../program/program.ts'

/** One of the two programs, as a service. */
interface Service extends ServiceFacts {
  readonly program: 'agent' | 'gateway'
  readonly unitText: string
  /** Settings that are written where there are none; undefined: they are made by a command. */
  readonly exampleConfig: string | undefined
  readonly next: string
}

const AGENT: Service = {
  program: 'agent',
  unit: 'postern-agent.service',
  user: 'postern-agent',
  home: '/var/lib/postern',
  configFile: '/etc/postern/agent.yaml',
  unitText: AGENT_UNIT,
  exampleConfig: EXAMPLE_CONFIG,
  next: 'Next: fill in /etc/postern/agent.yaml, enroll (runuser -u postern-agent -- agent enroll --help), and run: systemctl enable --now postern-agent.service',
}

const GATEWAY: Service = {
  program: 'gateway',
  unit: 'postern-gateway.service',
  user: 'postern-gateway',
  home: '/var/lib/postern',
  configFile: '/var/lib/postern/gateway/gateway.yaml',
  unitText: GATEWAY_UNIT,
  exampleConfig: undefined,
  next: 'Next: install -d -o postern-gateway -g postern-gateway -m 0700 /var/lib/postern/gateway, make a control plane there (runuser -u postern-gateway -- gateway init --help), and run: systemctl enable --now postern-gateway.service',
}

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
    describe: 'Root of the file system to install into, for images; nothing is started there.',
  },
} as const satisfies OptionTable

/** `agent service`: the agent as a service of systemd. */
export const agentService: CommandGroup = serviceCommand(AGENT)

/** `gateway service`: the same for the gateway. */
export const gatewayService: CommandGroup = serviceCommand(GATEWAY)

function serviceCommand(service: Service): CommandGroup {
  return group({
    path: 'service',
    describe: `Install the ${service.program} as a service of systemd.`,
    commands: [install(service), uninstall(service), status(service)],
  })
}

function install(service: Service): Command {
  const settings =
    service.exampleConfig === undefined
      ? ''
      : ' and, where there is none, a settings file with every option explained'
  return command({
    path: 'install',
    describe: `Make its user, its unit${settings}; enable and start it. As root; done again, it changes only what differs.`,
    options: {
      ...COMMON_OPTIONS,
      program: {
        type: 'string',
        default: `/usr/bin/${service.program}`,
        describe: 'Path of the program that the unit starts.',
      },
      start: {
        type: 'boolean',
        default: true,
        describe: 'Enable and start it; --no-start leaves that to you.',
      },
    },
    run: (args, surroundings) => {
      const { root, program, start } = args

      // A file that still has to be filled in, or made, is no reason to start.
      const isSet = existsSync(join(root, service.configFile))
      const steps = installSteps(service, { root }, program, start && isSet)
      perform(steps, args['dry-run'], surroundings)
      if (!isSet) surroundings.output.note(service.next)
      return 0
    },
  })
}

function uninstall(service: Service): Command {
  return command({
    path: 'uninstall',
    describe: 'Stop it, and remove its unit; settings, certificates and the user stay. As root.',
    options: COMMON_OPTIONS,
    run: (args, surroundings) => {
      perform(uninstallSteps(service, { root: args.root }), args['dry-run'], surroundings)
      return 0
    },
  })
}

function status(service: Service): Command {
  return command({
    path: 'status',
    describe:
      'Say whether it is installed, enabled and running. Exit 0: it runs, 1: not installed, 3: installed, and does not run.',
    options: {
      root: COMMON_OPTIONS.root,
      ...JSON_OPTION,
    },
    run: ({ root, json }, surroundings) =>
      Promise.resolve().then(() => show(service, { root }, json, surroundings)),
  })
}

function installSteps(
  service: Service,
  place: ServicePlace,
  program: string,
  start: boolean,
): Step[] {
  if (!/^\/[\w./-]+$/.test(program))
    throw new PosternError(
      'USAGE',
      '--program must be an absolute path of letters, digits and ./-_',
    )
  judgeProgram(service, place, program)
  const { unit: name, unitText, configFile, exampleConfig } = service
  const unit = unitText.replace(/^ExecStart=\S+ /m, `ExecStart=${program} `)
  const steps = [
    userStep(place, service),
    fileStep(place, `/etc/systemd/system/${name}`, unit, true),
    ...(exampleConfig === undefined ? [] : [fileStep(place, configFile, exampleConfig, false)]),
    systemctlStep(place, ['daemon-reload']),
  ]
  const isUp = (): boolean => Object.values(unitState(name)).every((is) => is)
  const enable = systemctlStep(place, ['enable', '--now', name], isUp)
  return start ? [...steps, enable] : steps
}

/** A unit whose program is missing would fail for ever. @throws INSTALL_FAILED */
function judgeProgram({ program: name }: Service, { root }: ServicePlace, program: string): void {
  const path = join(root, program)
  try {
    accessSync(path, constants.X_OK)
    if (statSync(path).isFile()) return
  } catch {
    // Told below: missing, and not to be executed, are one thing to do about.
  }
  const text = `${path} is no program: put ${name} there, or name it with --program (command -v ${name} finds it)`
  throw new PosternError('INSTALL_FAILED', text, { path })
}

function uninstallSteps({ unit }: Service, place: ServicePlace): Step[] {
  const isGone = (): boolean => !existsSync(unitPath(place, unit))
  return [
    systemctlStep(place, ['disable', '--now', unit], isGone),
    removeStep(place, `/etc/systemd/system/${unit}`),
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

function show(
  { unit, unitText, program }: Service,
  place: ServicePlace,
  json: boolean,
  { output }: Surroundings,
): number {
  const path = unitPath(place, unit)
  const isInstalled = existsSync(path)
  const isCurrent = isInstalled && sameBut(readFileSync(path, 'utf8'), unitText)
  const isAsked = isInstalled && place.root === '/' && isSystemd()
  const { enabled, active } = isAsked ? unitState(unit) : { enabled: false, active: false }
  if (json)
    output.result(
      JSON.stringify({ unit: path, installed: isInstalled, current: isCurrent, enabled, active }),
    )
  else if (!isInstalled)
    output.result(`${unit} is not installed; ${program} service install does it`)
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
