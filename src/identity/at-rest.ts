import { readFileSync, statSync } from 'node:fs'
import { seen, type Seen } from '../base/finding.ts'

const OTHERS = 0o077
/** Device-mapper names its dm-crypt targets so (kernel: Documentation/admin-guide/device-mapper/dm-crypt.rst, cryptsetup). */
const CRYPT = 'CRYPT-'
const IN_MEMORY = ['tmpfs', 'ramfs']
const KEY_HEAD_BYTES = 256

interface Mount {
  readonly point: string
  readonly type: string
  readonly device: string
}

/** Whether others than its owner may enter or read a file or folder. */
export function lookAtMode(path: string): Seen {
  const check = 'others kept out'
  try {
    const { mode, uid } = statSync(path)
    const text = `mode ${(mode & 0o7777).toString(8).padStart(4, '0')}, owner ${String(uid)}`
    return seen(check, (mode & OTHERS) === 0 ? 'OK' : 'FAIL', text)
  } catch (error) {
    return seen(check, 'UNKNOWN', codeOf(error))
  }
}

/** Whether a private key in PEM is encrypted with a passphrase; undefined: there is no such file. */
export function lookAtKey(path: string): Seen | undefined {
  const check = 'private key encrypted'
  try {
    const text = readFileSync(path, 'latin1').slice(0, KEY_HEAD_BYTES)
    if (text.includes('ENCRYPTED')) return seen(check, 'OK', 'PKCS#8, encrypted with a passphrase')
    return seen(
      check,
      'WARN',
      'readable by whoever reads the file: identity.passphraseFile encrypts it',
    )
  } catch (error) {
    const code = codeOf(error)
    return code === 'ENOENT' ? undefined : seen(check, 'UNKNOWN', code)
  }
}

/** Whether the file system below a path is encrypted, as the kernel tells: dm-crypt, or memory. What a cloud does below that it does not. */
export function lookAtFileSystem(path: string): Seen {
  const check = 'file system encrypted'
  try {
    const mount = mountOf(path)
    if (mount === undefined) return seen(check, 'UNKNOWN', 'the kernel names no mount for it')
    if (IN_MEMORY.includes(mount.type))
      return seen(check, 'OK', `${mount.type}: it is in memory, and ends with the machine`)
    const { dev } = statSync(path)
    const uuid = dmUuid(dev)
    if (uuid?.startsWith(CRYPT) === true)
      return seen(check, 'OK', `${mount.type} on dm-crypt (${uuid.slice(0, 16)}…)`)
    const below = uuid === undefined ? mount.device : `device-mapper ${uuid.split('-')[0] ?? ''}`
    return seen(
      check,
      'UNKNOWN',
      `${mount.type} on ${below}: the kernel encrypts nothing here; whether the disk below does, its cloud's console tells`,
    )
  } catch (error) {
    return seen(check, 'UNKNOWN', codeOf(error))
  }
}

function mountOf(path: string): Mount | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .flatMap((line): Mount[] => {
      const [device, point, type] = line.split(' ')
      if (device === undefined || point === undefined || type === undefined) return []
      const unescaped = point.replace(/\\(\d{3})/g, (_all, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      )
      return [{ device, point: unescaped, type }]
    })
    .filter(({ point }) => path === point || path.startsWith(point === '/' ? '/' : `${point}/`))
  return mounts.reduce<Mount | undefined>(
    (best, one) => (best === undefined || one.point.length >= best.point.length ? one : best),
    undefined,
  )
}

/** The name that device-mapper knows a block device by; undefined: it is none of its. */
function dmUuid(dev: number): string | undefined {
  const [major, minor] = [(dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00)]
  try {
    const place = `/sys/dev/block/${String(major)}:${String(minor)}/dm/uuid`
    return readFileSync(place, 'utf8').trim()
  } catch {
    // Not one of device-mapper.
    return undefined
  }
}

/** Whether swap is encrypted or off, and core dumps are off, for this process. */
export function lookAtMemory(): Seen[] {
  return [swap(), cores()]
}

function swap(): Seen {
  const check = 'no memory in swap'
  try {
    const devices = readFileSync('/proc/swaps', 'utf8').trim().split('\n').slice(1)
    if (devices.length === 0) return seen(check, 'OK', 'no swap on this machine')
    const group = readFileSync('/proc/self/cgroup', 'utf8').trim().split('::')[1] ?? ''
    const max = attempt(() => readFileSync(`/sys/fs/cgroup${group}/memory.swap.max`, 'utf8').trim())
    if (max === '0') return seen(check, 'OK', 'memory.swap.max of its group is 0')
    const names = devices.map((line) => line.split(/\s+/)[0] ?? '').join(', ')
    const areCompressed = devices.every((line) => line.startsWith('/dev/zram'))
    if (areCompressed) return seen(check, 'OK', `${names}: compressed memory, no disk`)
    return seen(check, 'WARN', `swap on ${names}: MemorySwapMax=0 of the unit keeps it out`)
  } catch (error) {
    return seen(check, 'UNKNOWN', codeOf(error))
  }
}

function cores(): Seen {
  const check = 'no core dumps'
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8')
    const soft = /^Max core file size\s+(\S+)/m.exec(limits)?.[1] ?? 'unknown'
    const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim()
    // A program that takes cores is given them whatever the limit (core(5)).
    if (pattern.startsWith('|'))
      return seen(
        check,
        'WARN',
        `${pattern.slice(1).split(' ')[0] ?? ''} takes them on this machine, whatever the limit (${soft})`,
      )
    if (soft === '0') return seen(check, 'OK', 'limit 0')
    return seen(check, 'WARN', `limit ${soft}: LimitCORE=0 of the unit turns them off`)
  } catch (error) {
    return seen(check, 'UNKNOWN', codeOf(error))
  }
}

/** What of the hardening of its unit holds for this process, as the kernel tells (proc_pid_status(5)). */
export function lookAtHardening(): Seen[] {
  let status: string
  try {
    status = readFileSync('/proc/self/status', 'utf8')
  } catch (error) {
    return [seen('hardening', 'UNKNOWN', codeOf(error))]
  }
  const field = (name: string): string =>
    new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1]?.trim() ?? ''
  const judge = (check: string, isGood: boolean, good: string, bad: string): Seen =>
    seen(check, isGood ? 'OK' : 'WARN', isGood ? good : bad)
  const uid = field('Uid').split(/\s+/)[1] ?? ''
  const capabilities = field('CapEff')
  return [
    judge('not root', uid !== '0' && uid !== '', `user ${uid}`, 'it runs as root'),
    judge(
      'no new privileges',
      field('NoNewPrivs') === '1',
      'set',
      'NoNewPrivileges=yes of the unit sets it',
    ),
    judge('no capabilities', /^0+$/.test(capabilities), 'none', `effective: ${capabilities}`),
    judge(
      'system calls filtered',
      field('Seccomp') === '2',
      'seccomp filter',
      'SystemCallFilter= of the unit sets it',
    ),
  ]
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    // It is not told here.
    return undefined
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? (error as Error).name
}
