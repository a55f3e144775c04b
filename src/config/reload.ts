import type { AgentSettings } from './agent-settings.ts'
import { DATA_PLANE_KEYS } from './data-plane-settings.ts'

/** Settings that a reload takes over; the others need a restart. */
export const RELOADABLE: readonly (keyof AgentSettings)[] = [
  'services',
  'probes',
  'probe.exec',
  ...DATA_PLANE_KEYS,
  'allow',
  'policy.file',
  'seal.keyFile',
  'seal.certificateFile',
  'seal.callers',
  'seal.callerCaFile',
  'gateway.address',
  'gateway.addresses',
  'tunnel.count',
  'health.latency',
  'heartbeat.interval',
  'posture.tell',
  'posture.interval',
  'forward.dialTimeout',
  'drain.grace',
  'log.level',
]

/** The settings in force after a reload, and what has changed. */
export interface Merged {
  readonly settings: AgentSettings
  /** Those that have changed, and are in force. */
  readonly changed: readonly string[]
  /** Those that have changed, and need a restart. */
  readonly waiting: readonly string[]
}

/** What is in force after a reload: of the new settings those that can be. */
export function mergeSettings(now: AgentSettings, next: AgentSettings): Merged {
  const isSame = (key: keyof AgentSettings): boolean => sameSetting(now[key], next[key])
  const keys = (Object.keys(next) as (keyof AgentSettings)[]).filter((key) => !isSame(key))
  const changed = keys.filter((key) => RELOADABLE.includes(key))
  const taken = Object.fromEntries(changed.map((key) => [key, next[key]]))
  return {
    settings: { ...now, ...taken },
    changed,
    waiting: keys.filter((key) => !RELOADABLE.includes(key)),
  }
}

/** Whether settings that have changed say what is offered. */
export function saysOffers(changed: readonly string[]): boolean {
  return changed.some((key) => key === 'services' || DATA_PLANE_KEYS.some((one) => one === key))
}

/** Whether two values of a setting are the same. */
export function sameSetting(a: unknown, b: unknown): boolean {
  return textOf(a) === textOf(b)
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    part instanceof RegExp
      ? part.source
      : part instanceof Map
        ? [...(part as Map<unknown, unknown>)]
        : part,
  )
}
