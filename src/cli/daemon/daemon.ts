import type { Logger } from '../../base/logger.ts'
import type { Surroundings } from '../program/program.ts'
import type { SystemdNotify } from './systemd-notify.ts'

/** What a signal can do to a daemon. */
export interface Daemon {
  drain(): Promise<void>
  stop(): void
  /** Takes over what has changed on disk; on an error nothing changes. */
  reload(): Promise<void> | void
}

const OK = 0
const FORCED = 1

/** Orders of other origin than a signal; `drain` does something once the daemon runs. */
export interface Orders {
  drain: () => void
}

/** Runs until a signal: the first drains, a second stops at once. Resolves to the exit status. */
export function untilSignal(
  daemon: Daemon,
  logger: Logger,
  surroundings: Surroundings,
  systemd: SystemdNotify,
  orders: Orders = { drain: () => undefined },
): Promise<number> {
  return new Promise((resolve) => {
    let isDraining = false
    const finish = (status: number): void => {
      unsubscribe()
      resolve(status)
    }
    const unsubscribe = surroundings.onSignal((signal) => {
      if (signal === 'SIGHUP') {
        reload(daemon, logger, systemd)
        return
      }
      if (!isDraining) {
        drain(signal)
        return
      }
      logger.warn({ signal }, 'second signal: stopping at once')
      daemon.stop()
      finish(FORCED)
    })
    const drain = (signal: string): void => {
      if (isDraining) return
      isDraining = true
      systemd.stopping()
      logger.info({ signal }, 'draining: running calls may finish')
      daemon.drain().then(
        () => {
          logger.info({}, 'stopped')
          finish(OK)
        },
        (error: unknown) => {
          logger.error({ err: error }, 'the drain failed')
          finish(FORCED)
        },
      )
    }
    orders.drain = () => {
      drain('gateway drain')
    }
  })
}

function reload(daemon: Daemon, logger: Logger, systemd: SystemdNotify): void {
  systemd.reloading()
  const act = async (): Promise<void> => {
    await daemon.reload()
  }
  act().then(
    () => {
      logger.info({}, 'reloaded')
      systemd.reloaded()
    },
    (error: unknown) => {
      logger.error({ err: error }, 'could not reload: what was there stays in force')
      systemd.reloaded()
    },
  )
}

export { withCloudflared } from './cloudflared-path.ts'
export { withProxy } from './proxy-environment.ts'
export { withPassphrase, withToken } from './systemd-credentials.ts'
export { type DaemonState, SystemdNotify } from './systemd-notify.ts'
export { tracerOf } from './tracing.ts'
