/** Feature name for canary calls: in Register of agents that answer them, in the welcome of gateways that send them. */
export const CANARY_FEATURE = 'canary'

/** Feature name for pushed policies: in Register of agents that take them. */
export const NARROW_FEATURE = 'narrow'

/** Feature name for events of runs: in the welcome of gateways that keep them. */
export const RUNS_FEATURE = 'runs'

/** Feature name for heartbeats: in the welcome of gateways that take them. */
export const HEARTBEAT_FEATURE = 'heartbeat'
