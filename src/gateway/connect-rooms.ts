import { composeRooms, type Ground, type Rooms } from './compose.ts'

/** Makes the rooms of a gateway, each of which hears of what happens in the others. */
export function connectedRooms(ground: Ground): Rooms {
  const rooms = composeRooms(ground)
  connectRooms(rooms, ground)
  return rooms
}

/** Says who hears of what happens in the rooms. */
function connectRooms(
  {
    registry,
    book,
    roles,
    agents,
    callers,
    api,
    notices,
    canary,
    clones,
    enrolment,
    listeners,
  }: Rooms,
  { access, own }: Ground,
): void {
  agents.registered.add(({ tunnel, bundleVersion }) => {
    notices.welcome(tunnel, bundleVersion)
    clones.arrived(tunnel)
    book?.arrived(tunnel)
    canary.watch(tunnel)
  })
  agents.left.add(({ tunnel, error: { code, rawMessage } }) => {
    canary.unwatch(tunnel)
    const others = registry.clusters.get(tunnel.cluster) ?? []
    if (!others.some(({ agent }) => agent === tunnel.agent)) book?.left(tunnel, code, rawMessage)
  })
  agents.told.add((tunnel) => {
    book?.told(tunnel)
  })
  clones.warned.add(({ tunnel, text }) => {
    notices.warn(tunnel, text)
  })
  access?.addTask(async () => {
    if (await roles.book.refresh()) callers.judgeRoles()
  })
  access?.changed.add(() => {
    agents.sweep()
    callers.sweep()
    api.sweep()
  })
  enrolment?.ownChanged.add(() => {
    for (const listener of listeners) listener.use(own.credential)
    api.use()
  })
  enrolment?.news.add(() => {
    notices.broadcast()
  })
}
