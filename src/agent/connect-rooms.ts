import type { Rooms } from './compose.ts'
import type { Health } from './health/health.ts'

/** Says who hears of what happens in the agent's rooms. */
export function connectRooms(rooms: Rooms & { readonly health: Health }): void {
  const { timeline, guard, tunnels, events, changes, services, notices, heartbeat, health } = rooms
  guard.taken.add(() => {
    tunnels.judgeGateways()
    tunnels.hurry()
  })
  guard.changed.add((reason) => {
    timeline.note('lockdown', reason === undefined ? 'lifted' : `locked down: ${reason}`)
    if (reason === undefined) events.hurry()
    heartbeat.tell()
    health.judge()
  })
  tunnels.welcomed.add(({ gatewayTimeMs, rttMs }) => {
    changes.welcomed(gatewayTimeMs, rttMs)
  })
  tunnels.up.add((gateways) => {
    timeline.note('tunnel-up', `with ${gateways.join(', ')}`)
    events.hurry()
    heartbeat.tell()
    health.judge()
  })
  tunnels.down.add((cause) => {
    if (cause.code !== 'GATEWAY_HELD')
      timeline.note('tunnel-down', `${cause.code}: ${cause.rawMessage}`)
    changes.explain(cause)
    health.judge()
  })
  services.dispatched.add((request) => {
    events.dispatched(request)
  })
  services.changed.add(({ name, isDown, reason }) => {
    timeline.note('service', `${name} is ${isDown ? `down: ${reason}` : 'up'}`)
    heartbeat.tell()
    health.judge()
  })
  changes.renewed.add(() => {
    timeline.note('certificate', 'renewed')
  })
  notices.warned.add(({ text }) => {
    timeline.note('warning', text)
  })
}
