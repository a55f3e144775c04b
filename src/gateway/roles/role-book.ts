import { PosternError } from '../../base/errors.ts'
import type { Database, Records } from '../../store/records.ts'
import type { RoleRow } from '../../store/schema.ts'
import { judgeRole } from './judge-role.ts'
import { allowsUse, hasCluster, isMember, type KnownCaller, type Role, type Use } from './role.ts'

/** Who changes roles, and when: it goes into the record. */
export interface RoleOrder {
  readonly actor: string
  readonly nowMs: number
}

/** The roles of the store, all in memory; `refresh` takes over what a command has changed. */
export class RoleBook {
  readonly #records: Records | undefined
  #revision = -1
  #roles: readonly Role[] = []

  /** `records` undefined: there is no store, and no role. */
  constructor(records: Records | undefined) {
    this.#records = records
  }

  get roles(): readonly Role[] {
    return this.#roles
  }

  /** Takes the roles as they stand in the store; returns whether they have changed. */
  async refresh(): Promise<boolean> {
    const records = this.#records
    if (records === undefined) return false
    const revision = await records.revision('roles')
    if (revision === this.#revision) return false
    const rows = await records.database.selectFrom('roles').selectAll().orderBy('name').execute()
    this.#revision = revision
    this.#roles = rows.map(roleOf)
    return true
  }

  /** The role by which a caller may use something; undefined: none. */
  roleFor(who: KnownCaller, use: Use): Role | undefined {
    return this.#roles.find((role) => allowsUse(role, use) && isMember(role, who))
  }

  /** Whether some role of a caller says anything of a cluster. */
  knowsCluster(who: KnownCaller, cluster: string): boolean {
    return this.#roles.some((role) => hasCluster(role, cluster) && isMember(role, who))
  }

  /** Whether a caller has any role. */
  hasRole(who: KnownCaller): boolean {
    return this.#roles.some((role) => isMember(role, who))
  }

  /** Keeps a role. `mayReplace`: one of that name gives way. @throws USAGE, STATE_EXISTS */
  async grant(role: Role, mayReplace: boolean, { actor, nowMs }: RoleOrder): Promise<void> {
    judgeRole(role)
    await this.#change('role.granted', role.name, { actor, nowMs }, async (within) => {
      const row = { ...rowOf(role), made_at: nowMs, made_by: actor.slice(0, 255) }
      const { numDeletedRows } = await within
        .deleteFrom('roles')
        .where('name', '=', role.name)
        .executeTakeFirst()
      if (numDeletedRows > 0n && !mayReplace)
        throw new PosternError('STATE_EXISTS', `role ${role.name} is there; nothing was changed`)
      await within.insertInto('roles').values(row).execute()
    })
  }

  /** Takes a role away. @throws NOT_KNOWN */
  async revoke(name: string, order: RoleOrder): Promise<void> {
    await this.#change('role.revoked', name, order, async (within) => {
      const { numDeletedRows } = await within
        .deleteFrom('roles')
        .where('name', '=', name)
        .executeTakeFirst()
      if (numDeletedRows === 0n) throw new PosternError('NOT_KNOWN', `there is no role ${name}`)
    })
  }

  async #change(
    kind: string,
    name: string,
    { actor, nowMs }: RoleOrder,
    act: (within: Database) => Promise<void>,
  ): Promise<void> {
    const records = this.#records
    if (records === undefined)
      throw new PosternError('CONFIG_INVALID', 'records.file is missing: this gateway has no roles')
    await records.database.transaction().execute(async (within) => {
      await act(within)
      await records.bump('roles', within)
      await records.note({ at: nowMs, kind, actor, identity: name }, within)
    })
    await this.refresh()
  }
}

function rowOf({ name, members, clusters, methods, services }: Role) {
  const rest = { clusters, methods, services }
  return { name, rules: JSON.stringify({ members, ...rest }) }
}

function roleOf({ name, rules }: RoleRow): Role {
  return { ...(JSON.parse(rules) as Omit<Role, 'name'>), name }
}
