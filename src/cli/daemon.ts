import type { Logger } from '../base/logger.ts'
import type { Surroundings } from './program.ts'
import type { SystemdNotify } from './systemd-notify.ts'

export interface Daemon {
  drain(): Promise<void>
  stop(): void
  /** Takes over what has changed on disk; on an error nothing changes. */
  reload(): Promise<void> | void
}

const OK = 0
const FORCED = 1

/** Runs until a signal: the first drains, a second stops at once. Resolves to the exit status. */
export function untilSignal(
  daemon: Daemon,
  logger: Logger,
  surroundings: Surroundings,
  systemd: SystemdNotify,
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
      if (isDraining) {
        logger.warn({ signal }, 'second signal: stopping at once')
        daemon.stop()
        finish(FORCED)
        return
      }
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
    })
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
