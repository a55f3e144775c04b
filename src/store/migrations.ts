import type { Kysely, Migration, MigrationProvider } from 'kysely'
import type { Tables } from './schema.ts'

/** In order; a released one is never changed. Plain types and no dialect's own words. */
const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '001-certificates': {
    async up(database: Kysely<Tables>): Promise<void> {
      await database.schema
        .createTable('tokens')
        .addColumn('id', 'varchar(16)', (column) => column.primaryKey())
        .addColumn('hash', 'varchar(64)', (column) => column.notNull())
        .addColumn('cluster', 'varchar(63)', (column) => column.notNull())
        .addColumn('agent', 'varchar(63)')
        .addColumn('uses_left', 'integer', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('expires_at', 'bigint', (column) => column.notNull())
        .addColumn('revoked_at', 'bigint')
        .execute()
      await database.schema
        .createTable('certificates')
        .addColumn('issuer', 'varchar(64)', (column) => column.notNull())
        .addColumn('serial', 'varchar(40)', (column) => column.notNull())
        .addColumn('cluster', 'varchar(63)', (column) => column.notNull())
        .addColumn('agent', 'varchar(63)', (column) => column.notNull())
        .addColumn('spki', 'varchar(71)', (column) => column.notNull())
        .addColumn('not_before', 'bigint', (column) => column.notNull())
        .addColumn('not_after', 'bigint', (column) => column.notNull())
        .addColumn('issued_at', 'bigint', (column) => column.notNull())
        .addColumn('state', 'varchar(16)', (column) => column.notNull())
        .addColumn('grant', 'varchar(64)', (column) => column.notNull())
        .addColumn('der', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('certificates_key', ['issuer', 'serial'])
        .execute()
      await database.schema
        .createIndex('certificates_by_agent')
        .on('certificates')
        .columns(['cluster', 'agent', 'state'])
        .execute()
      await database.schema
        .createTable('events')
        .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .addColumn('kind', 'varchar(64)', (column) => column.notNull())
        .addColumn('actor', 'varchar(256)', (column) => column.notNull())
        .addColumn('identity', 'varchar(256)')
        .addColumn('serial', 'varchar(40)')
        .addColumn('address', 'varchar(64)')
        .addColumn('detail', 'text')
        .execute()
    },
  },
  '002-revocation-and-change-of-ca': {
    async up(database: Kysely<Tables>): Promise<void> {
      await database.schema
        .alterTable('certificates')
        .addColumn('identity', 'varchar(256)', (column) => column.notNull().defaultTo(''))
        .execute()
      await database.schema
        .createTable('denials')
        .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
        .addColumn('kind', 'varchar(16)', (column) => column.notNull())
        .addColumn('issuer', 'varchar(64)')
        .addColumn('serial', 'varchar(40)')
        .addColumn('spki', 'varchar(71)')
        .addColumn('cluster', 'varchar(63)')
        .addColumn('agent', 'varchar(63)')
        .addColumn('reason', 'varchar(256)', (column) => column.notNull())
        .addColumn('actor', 'varchar(256)', (column) => column.notNull())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .addColumn('lifted_at', 'bigint')
        .execute()
      await database.schema
        .createTable('revisions')
        .addColumn('name', 'varchar(16)', (column) => column.primaryKey())
        .addColumn('number', 'integer', (column) => column.notNull())
        .execute()
      await database.schema
        .createTable('authorities')
        .addColumn('id', 'integer', (column) => column.primaryKey())
        .addColumn('folder', 'varchar(64)', (column) => column.notNull())
        .addColumn('phase', 'varchar(16)', (column) => column.notNull())
        .addColumn('root_pin', 'varchar(71)', (column) => column.notNull())
        .addColumn('agents_key', 'varchar(64)', (column) => column.notNull())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .execute()
      await database.schema
        .createTable('bundles')
        .addColumn('version', 'integer', (column) => column.primaryKey())
        .addColumn('content', 'varchar(16)', (column) => column.notNull())
        .addColumn('state', 'varchar(16)', (column) => column.notNull())
        .addColumn('signed', 'text', (column) => column.notNull())
        .execute()
      await database.schema
        .createTable('agents')
        .addColumn('cluster', 'varchar(63)', (column) => column.notNull())
        .addColumn('agent', 'varchar(63)', (column) => column.notNull())
        .addColumn('bundle_version', 'integer', (column) => column.notNull())
        .addColumn('seen_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('agents_key', ['cluster', 'agent'])
        .execute()
    },
  },
  '003-lineages-and-indices': {
    async up(database: Kysely<Tables>): Promise<void> {
      for (const table of ['certificates', 'denials'] as const)
        await database.schema
          .alterTable(table)
          .addColumn('lineage', 'varchar(40)', (column) => column.notNull().defaultTo(''))
          .execute()
      await nameLineages(database)
      for (const [name, table, columns] of INDICES)
        await database.schema
          .createIndex(name)
          .on(table)
          .columns([...columns])
          .execute()
    },
  },
  '004-cluster-records': {
    async up(database: Kysely<Tables>): Promise<void> {
      await database.schema
        .createTable('cluster_agents')
        .addColumn('cluster', 'varchar(63)', (column) => column.notNull())
        .addColumn('agent', 'varchar(63)', (column) => column.notNull())
        .addColumn('gateway', 'varchar(63)', (column) => column.notNull())
        .addColumn('agent_version', 'varchar(64)', (column) => column.notNull())
        .addColumn('address', 'varchar(64)', (column) => column.notNull())
        .addColumn('first_at', 'bigint', (column) => column.notNull())
        .addColumn('seen_at', 'bigint', (column) => column.notNull())
        .addColumn('left_at', 'bigint')
        .addColumn('left_code', 'varchar(64)')
        .addColumn('left_text', 'varchar(300)')
        .addColumn('report', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('cluster_agents_key', ['cluster', 'agent', 'gateway'])
        .execute()
      await database.schema
        .createIndex('cluster_agents_by_end')
        .on('cluster_agents')
        .columns(['left_at'])
        .execute()
      await database.schema
        .createIndex('cluster_agents_by_gateway')
        .on('cluster_agents')
        .columns(['gateway', 'left_at'])
        .execute()
    },
  },
  '005-runs': {
    async up(database: Kysely<Tables>): Promise<void> {
      await database.schema
        .createTable('run_events')
        .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
        .addColumn('cluster', 'varchar(63)', (column) => column.notNull())
        .addColumn('place', 'bigint', (column) => column.notNull())
        .addColumn('agent', 'varchar(63)', (column) => column.notNull())
        .addColumn('stream', 'varchar(32)', (column) => column.notNull())
        .addColumn('number', 'bigint', (column) => column.notNull())
        .addColumn('run', 'varchar(255)', (column) => column.notNull())
        .addColumn('received_at', 'bigint', (column) => column.notNull())
        .addColumn('event', 'text', (column) => column.notNull())
        .addUniqueConstraint('run_events_once', ['cluster', 'stream', 'number'])
        .execute()
      for (const [name, columns] of [
        ['run_events_by_place', ['cluster', 'place']],
        ['run_events_by_cluster', ['cluster', 'id']],
        ['run_events_by_run', ['cluster', 'run', 'id']],
        ['run_events_by_time', ['received_at']],
      ] as const)
        await database.schema
          .createIndex(name)
          .on('run_events')
          .columns([...columns])
          .execute()
    },
  },

  '006-run-bytes': {
    async up(database: Kysely<Tables>): Promise<void> {
      // What was kept before counts for nothing, and goes first.
      await database.schema
        .alterTable('run_events')
        .addColumn('upto', 'bigint', (column) => column.notNull().defaultTo(0))
        .execute()
      await database.schema
        .createIndex('run_events_by_bytes')
        .on('run_events')
        .columns(['cluster', 'upto'])
        .execute()
    },
  },

  '007-roles': {
    async up(database: Kysely<Tables>): Promise<void> {
      await database.schema
        .createTable('roles')
        .addColumn('name', 'varchar(63)', (column) => column.primaryKey())
        .addColumn('rules', 'text', (column) => column.notNull())
        .addColumn('made_at', 'bigint', (column) => column.notNull())
        .addColumn('made_by', 'varchar(255)', (column) => column.notNull())
        .execute()
    },
  },
}

const INDICES = [
  ['certificates_by_serial', 'certificates', ['serial']],
  ['certificates_by_lineage', 'certificates', ['lineage']],
  ['certificates_by_grant', 'certificates', ['grant', 'spki']],
  ['certificates_by_key', 'certificates', ['spki']],
  ['certificates_by_issuer_and_end', 'certificates', ['issuer', 'not_after']],
  ['certificates_by_end', 'certificates', ['not_after']],
  ['denials_in_force', 'denials', ['lifted_at', 'id']],
  ['events_by_time', 'events', ['at']],
  ['events_by_kind', 'events', ['kind', 'id']],
] as const

/** A renewal was granted for the serial before it; certificates and denials of one line get its first serial. */
async function nameLineages(database: Kysely<Tables>): Promise<void> {
  const rows = await database
    .selectFrom('certificates')
    .select(['issuer', 'serial', 'grant', 'spki'])
    .orderBy('issued_at')
    .execute()
  const bySerial = new Map<string, string>()
  const byKey = new Map<string, string>()
  for (const { issuer, serial, grant, spki } of rows) {
    const lineage = bySerial.get(grant) ?? serial
    bySerial.set(serial, lineage)
    byKey.set(spki, lineage)
    await database
      .updateTable('certificates')
      .set({ lineage })
      .where('issuer', '=', issuer)
      .where('serial', '=', serial)
      .execute()
  }
  for (const { id, serial, spki } of await database.selectFrom('denials').selectAll().execute()) {
    const lineage = bySerial.get(serial ?? '') ?? byKey.get(spki ?? '')
    if (lineage !== undefined)
      await database.updateTable('denials').set({ lineage }).where('id', '=', id).execute()
  }
}

/** Gives Kysely the migrations of the store, in order. */
export const migrationProvider: MigrationProvider = {
  getMigrations: () => Promise.resolve(MIGRATIONS),
}
