import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readCatalog } from '../../capture/postgres/catalog.ts';
import { closeSession, openSession } from '../../capture/postgres/connection.ts';
import { discoverMapping } from '../../models/discover.ts';
import { type Mapping, mappingSchema } from '../../models/mapping.ts';
import { pgbenchSql } from '../support/pgbench.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { serviceTablesSql } from '../support/service-tables.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function discover(database: string, sql: string): Promise<Mapping> {
  const url = await server.createDatabase(database);
  await server.run(database, sql);
  const session = await openSession({ url });
  try {
    return mappingSchema.parse(discoverMapping(await readCatalog(session, ['*.*'])));
  } finally {
    await closeSession(session);
  }
}

test('the sample business is understood without a hint', async () => {
  const sql = await readFile(new URL('../../commands/demo/business.sql', import.meta.url), 'utf8');
  const mapping = await discover('business', sql);
  expect(mapping.master).toMatchObject({
    table: 'public.master',
    id: 'id',
    uuid: 'uuid',
    type: 'type',
    name: 'name',
  });
  const events = Object.entries(mapping.tables).filter(([, table]) => table.kind === 'event');
  expect(events.map(([name]) => name)).toEqual([
    'public.service_activity_trace',
    'public.service_analytics_event',
    'public.service_campaign_broadcast_event',
    'public.service_event',
    'public.service_scheduler_job_run',
    'public.service_security_event',
  ]);
  const tables = mapping.tables;
  expect(tables['public.service_event']).toMatchObject({
    service: 'event',
    master: { id: 'master_id', uuid: 'master_uuid' },
    actor: { column: 'user_id', table: 'public.service_user_master', targetColumn: 'id' },
    tenant: { column: 'campaign_id', none: ['0', ''] },
    event: {
      type: 'event_type',
      at: { column: 'occurred_at', as: 'timestamptz' },
      entityType: 'entity_type',
      entityId: 'entity_id',
    },
  });
  expect(tables['public.service_security_event']?.actor).toEqual({
    column: 'principal',
    table: 'public.service_user_master',
    targetColumn: 'username',
  });
  expect(tables['public.service_scheduler_job_run']?.event?.at).toEqual({
    column: 'started_at',
    as: 'epoch_seconds',
  });
  expect(tables['public.service_campaign_broadcast_event']).toMatchObject({
    master: null,
    event: { at: { column: 'timestamp', as: 'timestamptz' }, payload: 'json_payload' },
  });
  expect(tables['public.service_content_comment']).toMatchObject({
    kind: 'entity',
    master: null,
    parent: { column: 'content_id', table: 'public.service_content_main', targetColumn: 'id' },
    actor: { column: 'author_id', table: 'public.service_user_master' },
  });
  expect(tables['public.service_user_master']).toMatchObject({
    denied: ['password_hash'],
    masked: ['email', 'last_ip'],
  });
  expect(tables['public.service_referral_link']?.references).toContainEqual({
    column: 'referred_master_id',
    table: 'public.master',
    targetColumn: 'id',
    typeColumn: null,
    declared: true,
  });
  expect(tables['public.service_activity_trace']?.key).toEqual([]);
});

test('actors are looked up among the users, and those of a declared key where it leads', async () => {
  const mapping = await discover(
    'two_user_tables',
    /* sql */ `
      create table master (id bigint primary key, uuid uuid unique, type text, name text);
      create table service_admin_user (id uuid primary key, master_id bigint references master (id), email text);
      create table service_user_master (id uuid primary key, master_id bigint references master (id), email text);
      create table service_event (id uuid primary key, master_id bigint references master (id), user_id uuid,
        event_type text, occurred_at timestamptz);
      create table service_admin_audit_log (id uuid primary key, user_id uuid references service_admin_user (id),
        action text, "timestamp" timestamptz);`,
  );
  const actorOf = (table: string) => mapping.tables[`public.${table}`]?.actor;
  const user = { column: 'user_id', targetColumn: 'id' };
  expect(actorOf('service_event')).toEqual({ ...user, table: 'public.service_user_master' });
  expect(actorOf('service_admin_audit_log')).toEqual({
    ...user,
    table: 'public.service_admin_user',
  });
  expect(mapping.tables['public.service_event']?.references).toContainEqual({
    ...user,
    table: 'public.service_user_master',
    typeColumn: null,
    declared: false,
  });
});

test('no reference is guessed between a number and a uuid', async () => {
  const mapping = await discover(
    'unlike_ids',
    /* sql */ `
      create table master (id bigint primary key, uuid uuid unique, type text, name text);
      create table service_user_master (id uuid primary key, master_id bigint references master (id), email text);
      create table service_campaign_main (id bigint primary key, master_id bigint references master (id));
      create table service_visit (id bigint primary key, master_id bigint, user_id bigint, author_id text, campaign_id uuid);
      create table service_click (id bigint primary key, master_id bigint, user_id bigint, campaign_id varchar(40));`,
  );
  const guesses = (table: string) =>
    mapping.tables[table]?.references.map(({ column, table: target }) => [column, target]);
  expect(guesses('public.service_visit')).toEqual([['author_id', 'public.service_user_master']]);
  expect(mapping.tables['public.service_visit']?.actor?.column).toBe('author_id');
  expect(guesses('public.service_click')).toEqual([
    ['campaign_id', 'public.service_campaign_main'],
  ]);
  expect(mapping.tables['public.service_click']?.actor).toBeNull();
});

test('a database without masters gets a mapping without one', async () => {
  const mapping = await discover('pgbench', pgbenchSql(1));
  expect(mapping.master).toBeNull();
  expect(Object.keys(mapping.tables)).toEqual([
    'public.pgbench_accounts',
    'public.pgbench_branches',
    'public.pgbench_history',
    'public.pgbench_tellers',
  ]);
  expect(Object.values(mapping.tables).every((table) => table.master === null)).toBe(true);
});

test('seventy services with mixed id types are mapped, each under a name of its own', async () => {
  const mapping = await discover('services', serviceTablesSql(75));
  const tables = Object.values(mapping.tables);
  expect(tables).toHaveLength(76);
  expect(new Set(tables.map(({ service, entity }) => `${service}__${entity}`)).size).toBe(76);
  expect(tables.filter(({ kind }) => kind === 'event')).toHaveLength(25);
  expect(mapping.tables['public.service_svc6_event']).toMatchObject({
    master: { id: null, uuid: 'master_uuid' },
  });
});
