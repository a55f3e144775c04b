import type { Logger } from '../base/logger.ts'
import type { TunnelState } from './lifecycle.ts'

/** One line for each step of a tunnel's life; what somebody must act on is an error. */
export function logTransition(logger: Logger, from: TunnelState, to: TunnelState): void {
  const facts = { from: from.name, to: to.name }
  if (to.name === 'backoff') {
    const { code, rawMessage, recovery } = to.cause
    const details = {
      ...facts,
      ...to.cause.facts,
      code,
      reason: rawMessage,
      attempt: to.attempt,
      delayMs: Math.round(to.delayMs),
    }
    if (code === 'GATEWAY_HELD') logger.debug(details, 'no other gateway was found')
    else if (recovery === 'give-up')
      logger.error(details, 'the tunnel is refused: somebody must act, retrying slowly')
    else logger.warn(details, 'the tunnel is down, retrying')
  } else if (to.name === 'ready') {
    const { facts: tls } = to.connection
    const details = {
      ...facts,
      peer: tls.address,
      ...tls.identity,
    }
    logger.info(
      { ...details, tlsVersion: tls.tlsVersion, cipher: tls.cipher, group: tls.group },
      'the tunnel is up',
    )
  } else logger.debug(facts, 'tunnel')
}
