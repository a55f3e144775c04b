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
}

export const migrationProvider: MigrationProvider = {
  getMigrations: () => Promise.resolve(MIGRATIONS),
}
