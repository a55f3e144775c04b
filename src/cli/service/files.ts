import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import { attempt, FOR_ALL, writeState } from '../../identity/state-files.ts'

/** One step of an installation: what it would do, whether it is done already, and how it is done. */
export interface Step {
  readonly what: string
  isDone(): boolean
  act(): void
}

/** The program, user and files of a service that is to be installed. */
export interface ServiceFacts {
  readonly unit: string
  readonly user: string
  readonly home: string
  readonly configFile: string
}

/** A root of the file system other than `/` is for images, and for tests: nothing is started there. */
export interface ServicePlace {
  readonly root: string
}

const at = ({ root }: ServicePlace, path: string): string => join(root, path)
const isReal = ({ root }: ServicePlace): boolean => root === '/'

/** Returns where the unit of a program lies. */
export function unitPath(place: ServicePlace, unit: string): string {
  return at(place, `/etc/systemd/system/${unit}`)
}

/** Runs a tool of the system. @throws INSTALL_FAILED */
function run(command: string, ...args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string }
    const why = stderr.trim() === '' ? message : stderr.trim()
    throw new PosternError('INSTALL_FAILED', `${command} ${args.join(' ')}: ${why}`)
  }
}

function succeeds(command: string, ...args: readonly string[]): boolean {
  try {
    run(command, ...args)
    return true
  } catch {
    // Its exit status is the answer.
    return false
  }
}

/** Makes the step that creates the user of a service. */
export function userStep(place: ServicePlace, { user, home }: ServiceFacts): Step {
  const passwd = at(place, '/etc/passwd')
  const where = isReal(place) ? [] : ['--prefix', place.root]
  return {
    what: `make the system user ${user}`,
    isDone: () =>
      existsSync(passwd) &&
      readFileSync(passwd, 'utf8')
        .split('\n')
        .some((line) => line.startsWith(`${user}:`)),
    act: () => {
      const how = ['--system', '--home-dir', home, '--shell', '/usr/sbin/nologin', '--user-group']
      run('useradd', ...where, ...how, user)
    },
  }
}

/** A file of this text; one that is there already is overwritten only where it may be. */
export function fileStep(
  place: ServicePlace,
  path: string,
  text: string,
  mayReplace: boolean,
): Step {
  const file = at(place, path)
  return {
    what: `write ${file}`,
    isDone: () => existsSync(file) && (!mayReplace || readFileSync(file, 'utf8') === text),
    act: () => {
      attempt(dirname(file), () => mkdirSync(dirname(file), { recursive: true }))
      writeState(file, text, FOR_ALL)
    },
  }
}

/** Makes the step that removes a file. */
export function removeStep(place: ServicePlace, path: string): Step {
  const file = at(place, path)
  return {
    what: `remove ${file}`,
    isDone: () => !existsSync(file),
    act: () => {
      attempt(file, () => {
        rmSync(file)
      })
    },
  }
}

/** Tells systemd, where it runs on this root. */
export function systemctlStep(
  place: ServicePlace,
  args: readonly string[],
  isDone = (): boolean => false,
): Step {
  return {
    what: `systemctl ${args.join(' ')}`,
    isDone: () => !isReal(place) || !isSystemd() || isDone(),
    act: () => {
      run('systemctl', ...args)
    },
  }
}

/** Tells whether this machine runs systemd. */
export function isSystemd(): boolean {
  return existsSync('/run/systemd/system')
}

/** Asks systemd for the state of a unit. */
export function unitState(unit: string): { enabled: boolean; active: boolean } {
  return {
    enabled: succeeds('systemctl', 'is-enabled', '--quiet', unit),
    active: succeeds('systemctl', 'is-active', '--quiet', unit),
  }
}
