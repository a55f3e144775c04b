/** Named in Register by agents that answer canary calls, and in the welcome by gateways that send them. */
export const CANARY_FEATURE = 'canary'

/** Named in the welcome by gateways that take heartbeats. */
export const HEARTBEAT_FEATURE = 'heartbeat'
