import { afterAll, beforeAll, expect, test } from 'vitest';

import { closeSession, openSession } from '../../capture/postgres/connection.ts';
import {
  type Finding,
  preflight,
  type PreflightOptions,
} from '../../capture/postgres/preflight.ts';
import { startTestPostgres, testPostgresMajor, type TestPostgres } from '../support/postgres.ts';

/** Has no virtual columns, and publishes no generated ones. */
const isOld = testPostgresMajor < 18;

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres({ max_slot_wal_keep_size: '10GB' });
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

const options: PreflightOptions = {
  slot: 'tributary',
  publication: 'tributary',
  tables: ['public.*'],
};

async function findings(url: string, wanted = options): Promise<readonly Finding[]> {
  const session = await openSession({ url });
  try {
    return await preflight(session, wanted);
  } finally {
    await closeSession(session);
  }
}

const brief = (found: readonly Finding[]): string[] =>
  found.map(({ severity, what }) => `${severity}: ${what}`);

test('a database that is ready has no findings', async () => {
  const url = await postgres.createDatabase('ready');
  await postgres.run(
    'ready',
    `create table item(id bigint primary key);
    create publication tributary for all tables`,
  );
  expect(await findings(url)).toEqual([]);
});

test('what is missing is named, and its SQL mends it', async () => {
  const url = await postgres.createDatabase('bare');
  await postgres.run('bare', `create table item(id bigint primary key); create table log(n int)`);
  const before = await findings(url);
  expect(brief(before)).toEqual([
    'error: publication "tributary" does not exist',
    'warning: public.log has no primary key or replica identity',
  ]);
  for (const { sql } of before) await postgres.run('bare', sql ?? '');
  expect(brief(await findings(url))).toEqual(['warning: public.log has no key']);
});

test.skipIf(isOld)(
  'a published table whose updates would fail at the source is an error',
  async () => {
    const url = await postgres.createDatabase('harmful');
    await postgres.run(
      'harmful',
      `create table log(n int); create table hidden(id int primary key); alter table hidden replica identity nothing;
     create table computed(id int, twice int generated always as (id * 2) stored);
     alter table computed replica identity full; create publication tributary for all tables`,
    );
    expect(brief(await findings(url))).toEqual([
      'error: public.computed has replica identity full and unpublished generated columns',
      'error: public.hidden has no replica identity',
      'error: public.log has no primary key or replica identity',
      'warning: public.computed has no key',
    ]);
  },
);

test.skipIf(isOld)(
  'a row that has virtual columns and only itself as identity cannot be published',
  async () => {
    const url = await postgres.createDatabase('virtual');
    await postgres.run(
      'virtual',
      `create table bare(id int, twice int generated always as (id * 2) virtual); alter table bare replica identity full;
     create table keyed(id int primary key, twice int generated always as (id * 2) virtual); alter table keyed replica identity full;
     insert into bare values (1); insert into keyed values (1);
     create publication tributary for table bare, keyed with (publish_generated_columns = stored)`,
    );
    await expect(postgres.run('virtual', 'update keyed set id = 2')).rejects.toThrow(
      'cannot update',
    );
    const found = await findings(url);
    expect(brief(found)).toEqual(
      ['bare', 'keyed'].map(
        (name) =>
          `error: public.${name} has virtual columns, and its rows have no other identity than all of their columns`,
      ),
    );
    for (const { sql } of found) await postgres.run('virtual', sql ?? '');
    await postgres.run('virtual', 'update keyed set id = 2; update bare set id = 2');
    expect(brief(await findings(url))).toEqual([
      'warning: publication "tributary" lacks 1 of 2 tables: public.bare',
      'warning: public.bare has virtual columns, and its rows have no other identity than all of their columns',
    ]);
  },
);

test('a role without rights is told what to grant', async () => {
  const database = 'weakly';
  await postgres.createDatabase(database);
  await postgres.run(
    database,
    `create role reader login password 'reader'; create table item(id bigint primary key);
     create publication tributary for all tables`,
  );
  const url = new URL(postgres.url(database));
  url.username = 'reader';
  url.password = 'reader';
  const found = await findings(String(url));
  expect(brief(found)).toEqual([
    'error: role "reader" may not replicate',
    'error: role "reader" may not read public.item',
  ]);
  for (const { sql } of found) await postgres.run(database, sql ?? '');
  expect(await findings(String(url))).toEqual([]);
  // However many tables it lacks, it is one finding, with one piece of SQL for all of them.
  await postgres.run(
    database,
    `create schema shut; create table shut."Of It"(id bigint primary key); create table more(id bigint primary key)`,
  );
  const wider = { ...options, tables: ['public.*', 'shut.*'] };
  const [rights, ...others] = await findings(String(url), wider);
  expect(others).toEqual([]);
  expect(rights?.what).toBe('role "reader" may not read 2 of 3 tables: public.more, shut.Of It');
  await postgres.run(database, rights?.sql ?? '');
  expect(await findings(String(url), wider)).toEqual([]);
});

test('what is published in part, or not at all, is a warning', async () => {
  const url = await postgres.createDatabase('partial');
  await postgres.run(
    'partial',
    `create table item(id bigint primary key); create table other(id bigint primary key);
     create unlogged table "Scratch pad"(id bigint primary key);
     create publication tributary for table item with (publish = 'insert, update')`,
  );
  const found = await findings(url);
  expect(brief(found)).toEqual([
    'warning: publication "tributary" lacks 1 of 2 tables: public.other',
    'warning: publication "tributary" leaves out delete, truncate',
    'warning: public.Scratch pad is unlogged',
  ]);
  for (const { sql } of found) await postgres.run('partial', sql ?? '');
  const after = brief(await findings(url));
  expect(after).toEqual([
    'warning: publication "tributary" lacks 1 of 3 tables: public.Scratch pad',
  ]);
});

test('patterns that match nothing are an error', async () => {
  const url = await postgres.createDatabase('unmatched');
  await postgres.run('unmatched', `create publication tributary for all tables`);
  expect(brief(await findings(url, { ...options, tables: ['shop.*'] }))).toEqual([
    'error: no table would be captured',
  ]);
});

test('wal_level and an unlimited slot are named', async () => {
  await using server = await startTestPostgres({ wal_level: 'replica' });
  await server.run('postgres', `create table item(id bigint primary key)`);
  expect(brief(await findings(server.url('postgres')))).toEqual([
    'error: wal_level is "replica"',
    'error: publication "tributary" does not exist',
    'warning: max_slot_wal_keep_size is not limited',
  ]);
});
