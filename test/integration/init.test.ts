import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../runtime/config.ts';
import { runCommandLine } from '../support/command-line.ts';
import { pgbenchSql } from '../support/pgbench.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

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
  expect(sql).toContain('grant select on all tables in schema "public" to "reader";');
  expect(sql).toContain('create publication "tributary" for table\n  "public"."t";');
});

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
  const none = await runCommandLine(['init', '--source', url, '--dir', dir]);
  expect(none.exit).toBe(3);
  expect(none.stderr).toContain('database empty has no table like public.*');
});
