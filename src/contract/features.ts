/** Feature name for canary calls: in Register of agents that answer them, in the welcome of gateways that send them. */
export const CANARY_FEATURE = 'canary'

/** Feature name for heartbeats: in the welcome of gateways that take them. */
export const HEARTBEAT_FEATURE = 'heartbeat'
