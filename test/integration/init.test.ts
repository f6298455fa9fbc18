import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../runtime/config.ts';
import { runCommandLine } from '../support/command-line.ts';
import { pgbenchSql } from '../support/pgbench.ts';
import { startTestPostgres, testPostgresMajor, type TestPostgres } from '../support/postgres.ts';

/** Has no virtual columns, and publishes no generated ones. */
const isOld = testPostgresMajor < 18;

let server: TestPostgres;
let dir: string;
beforeAll(async () => {
  server = await startTestPostgres();
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-init-'));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

test('init --apply makes a database that nobody prepared ready to stream', async () => {
  const url = await server.createDatabase('bench');
  await server.run('bench', pgbenchSql(1, 100));
  const target = path.join(dir, 'bench');
  const init = await runCommandLine(['init', '--source', url, '--dir', target, '--apply']);
  expect(init.stderr).toBe('');
  expect(init.exit).toBe(0);
  expect(init.stdout).toContain('Read 4 tables: master none found, 0 event tables.');
  expect(init.stdout).toContain('Applied 2 of 2 statements.');
  const published = await server.run(
    'bench',
    'select tablename from pg_publication_tables order by 1',
  );
  expect(published.rows).toHaveLength(4);
  const config = loadConfig(path.join(target, 'tributary.yaml'), { DATABASE_URL: url });
  expect(config.source.publication).toBe('tributary');
  const sql = await readFile(path.join(target, 'tributary.sql'), 'utf8');
  expect(sql).toContain('alter table "public"."pgbench_history" replica identity full;');
  // A second time: nothing is left to do, and nothing is overwritten unasked.
  const again = await runCommandLine(['init', '--source', url, '--dir', target]);
  expect(again.exit).toBe(2);
  expect(again.stderr).toContain('--force');
  const forced = await runCommandLine(['init', '--source', url, '--dir', target, '--force']);
  expect(forced.stdout).not.toContain('tributary.sql read and run');
});

test('a role without rights gets the SQL that a superuser has to run, and what was refused', async () => {
  const url = await server.createDatabase('limited');
  await server.run(
    'limited',
    `create table t (id int primary key); create role reader login password 'p'; grant connect on database limited to reader`,
  );
  const asReader = url.replace(/\/\/[^@]+@/, '//reader:p@');
  const init = await runCommandLine([
    'init',
    '--source',
    asReader,
    '--dir',
    path.join(dir, 'limited'),
    '--apply',
  ]);
  expect(init.exit).toBe(0);
  expect(init.stdout).toMatch(/refused: alter role "reader" with replication: /);
  const sql = await readFile(path.join(dir, 'limited', 'tributary.sql'), 'utf8');
  expect(sql).toContain('grant select on\n  "public"."t"\n  to "reader";');
  expect(sql).toContain('create publication "tributary" for table\n  "public"."t";');
});

test('a role that may replicate is granted what it lacks, and nothing that it has', async () => {
  const url = await server.createDatabase('granted');
  await server.run(
    'granted',
    `create schema other; create table other.t (id int primary key); create table t (id int primary key);
     create role streamer login replication password 'p'`,
  );
  const target = path.join(dir, 'granted');
  const asStreamer = url.replace(/\/\/[^@]+@/, '//streamer:p@');
  const own = await runCommandLine(['init', '--source', asStreamer, '--dir', target]);
  expect(own.stdout).toContain('tributary.sql read and run (3 statements)');
  expect(own.stdout).toContain('Left out: 1 of schema other; choose with --tables');
  const sql = await readFile(path.join(target, 'tributary.sql'), 'utf8');
  expect(sql).toContain('grant usage on schema "public" to "streamer";');
  expect(sql).toContain('grant select on\n  "public"."t"\n  to "streamer";');
  expect(sql).not.toContain('alter role');
  await server.run('granted', sql);
  const words = ['init', '--source', url, '--role', 'streamer', '--dir', target, '--force'];
  const again = await runCommandLine(words);
  expect(again.stdout).not.toContain('tributary.sql read and run');
  expect(await readFile(path.join(target, 'tributary.sql'), 'utf8')).toContain('Nothing:');
});

test.skipIf(isOld)(
  'a table without a key that has generated columns can still be updated once it is published',
  async () => {
    const url = await server.createDatabase('generated');
    const keyless = (name: string) =>
      `create table ${name} (a int, twice int generated always as (a * 2) stored); insert into ${name} values (1)`;
    await server.run('generated', keyless('first'));
    const words = ['init', '--source', url, '--dir', path.join(dir, 'generated'), '--apply'];
    expect((await runCommandLine(words)).stdout).toContain('Applied 2 of 2 statements.');
    await server.run('generated', 'update first set a = 2');
    // The same for one that comes later, where the publication does not publish them yet.
    await server.run(
      'generated',
      `alter publication tributary set (publish_generated_columns = none); ${keyless('second')};
     alter publication tributary drop table first; drop table first`,
    );
    const later = await runCommandLine([...words, '--force']);
    expect(later.stdout).toContain('Applied 3 of 3 statements.');
    await server.run('generated', 'update second set a = 2');
  },
);

test.skipIf(isOld)(
  'a table whose updates no publication would let pass is left out, and said to be',
  async () => {
    const url = await server.createDatabase('virtual');
    await server.run(
      'virtual',
      `create table bare (a int, twice int generated always as (a * 2) virtual); insert into bare values (1);
     create table item (id int primary key)`,
    );
    const target = path.join(dir, 'virtual');
    await runCommandLine(['init', '--source', url, '--dir', target, '--apply']);
    await server.run('virtual', 'update bare set a = 2');
    const sql = await readFile(path.join(target, 'tributary.sql'), 'utf8');
    expect(sql).toContain('-- public.bare has virtual columns and no identity');
    expect(sql).toContain('create publication "tributary" for table\n  "public"."item";');
  },
);

test('a wrong password and a missing table are said in one sentence with a way out', async () => {
  const url = await server.createDatabase('empty');
  const wrong = await runCommandLine([
    'init',
    '--source',
    url.replace(/:[^:@]+@/, ':wrong-secret@'),
    '--dir',
    dir,
  ]);
  expect(wrong.exit).toBe(3);
  expect(wrong.stderr).toContain('password');
  expect(wrong.stderr).not.toContain('wrong-secret');
  for (const other of ['mysql://app:wrong-secret@db/shop', 'postgres://app:wrong#secret@db/shop']) {
    const refused = await runCommandLine(['init', '--source', other, '--dir', dir]);
    expect(refused.exit).toBe(2);
    expect(refused.stderr).toMatch(/^error: --source is not a PostgreSQL URL; write it like .*%23/);
    expect(refused.stderr).not.toContain('secret');
  }
  const none = await runCommandLine(['init', '--source', url, '--dir', dir]);
  expect(none.exit).toBe(3);
  expect(none.stderr).toContain('database empty has no table like public.*');
});
