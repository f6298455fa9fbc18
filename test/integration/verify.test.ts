import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openLogReader } from '../../commands/open-log.ts';
import { awaitSnapshot } from '../../commands/verify/await-snapshot.ts';
import { loadConfig } from '../../runtime/config.ts';
import { runCommandLine } from '../support/command-line.ts';
import { runPgbench } from '../support/pgbench.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { startCommandLine } from '../support/spawn.ts';

let server: TestPostgres;
let dir: string;
let env: Record<string, string>;
beforeAll(async () => {
  server = await startTestPostgres();
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-verify-'));
  env = { DATABASE_URL: await server.createDatabase('shop') };
  await server.run('shop', schemaSql);
  const init = await runCommandLine(['init', '--dir', dir, '--apply'], { env });
  if (init.exit !== 0) throw new Error(init.stderr);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const schemaSql = /* sql */ `
  create table item (id int primary key, name text, price numeric(10,2), big text);
  insert into item select i, 'item ' || i, i / 4.0, repeat('x', 3000) from generate_series(1, 3000) i;
  create table note (body text, at timestamptz);
  insert into note select 'note ' || i % 10, '2026-01-01'::timestamptz + i % 10 * interval '1 day' from generate_series(1, 200) i;
  create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
  create table pgbench_branches (bid int primary key, bbalance int, filler char(88));
  create table pgbench_tellers (tid int primary key, bid int, tbalance int, filler char(84));
  create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
  insert into pgbench_accounts select i, 1, 0, '' from generate_series(1, 1000) i;
  insert into pgbench_tellers select i, 1, 0, '' from generate_series(1, 10) i;
  insert into pgbench_branches values (1, 0, '');`;

interface Report {
  readonly lsn: string;
  readonly rows: number;
  readonly differences: number;
  readonly tables: readonly { readonly table: string; readonly differences: readonly object[] }[];
}

async function verify(): Promise<{ exit: number; report: Report }> {
  const { exit, stdout } = await runCommandLine(['verify', '--json'], {
    cwd: dir,
    env,
  });
  return { exit, report: JSON.parse(stdout || 'null') as Report };
}

test('source and lake are equal at an LSN while four writers go on', async () => {
  await using run = startCommandLine(['run'], { cwd: dir, env });
  await run.waitFor(/every table is read/);
  const enough = new AbortController();
  const writers = Array.from({ length: 4 }, () =>
    runPgbench(env['DATABASE_URL'] ?? '', { scale: 1, accounts: 1000, signal: enough.signal }),
  );
  const verified: Awaited<ReturnType<typeof verify>>[] = [];
  for (let round = 0; round < 3; round += 1) verified.push(await verify());
  enough.abort();
  const transactions = await Promise.all(writers);
  expect(verified.map(({ exit }) => exit)).toEqual([0, 0, 0]);
  const reports = verified.map(({ report }) => report);
  expect(Math.min(...transactions)).toBeGreaterThan(0);
  // Each time at a later LSN, with more rows of history: nobody was held up.
  expect(new Set(reports.map(({ lsn }) => lsn)).size).toBe(3);
  const rows = reports.map((report) => report.rows);
  expect(rows).toEqual(rows.toSorted((left, right) => left - right));
  expect(rows.at(-1)).toBeGreaterThan(rows[0] ?? 0);
  expect(await run.stop()).toBe(0);
});

test('without a sink running verify applies the backlog itself, up to the same position', async () => {
  await using capture = startCommandLine(['capture'], { cwd: dir, env });
  await server.run(
    'shop',
    `update item set price = price + 1 where id <= 100; delete from note where body = 'note 3'`,
  );
  const { exit, report } = await verify();
  expect(exit).toBe(0);
  expect(report.differences).toBe(0);
  expect(await capture.stop()).toBe(0);
});

test('every planted difference is named with its key and columns, values only when asked', async () => {
  await tamper([
    `update public.item__state set price = 0.01 where id = 7`,
    `update public.item__state set name = null, big = 'short' where id = 8`,
    `delete from public.item__state where id = 9`,
    `insert into public.item__state (id, name, _cdc_seq, _cdc_deleted) values (99999, 'ghost', '0001/0000000000000001/00000001/0', false)`,
    `insert into public.note__state select * from public.note__state where body = 'note 1' limit 1`,
    `delete from public.pgbench_branches__state`,
  ]);
  await using capture = startCommandLine(['capture'], { cwd: dir, env });
  const { exit, report } = await verify();
  expect(exit).toBe(7);
  const found = Object.fromEntries(
    report.tables.map(({ table, differences }) => [table, differences]),
  );
  expect(found['public.item']).toHaveLength(4);
  expect(found['public.item']).toEqual(
    expect.arrayContaining([
      {
        kind: 'columns-differ',
        key: ['7'],
        columns: [{ name: 'price', source: null, lake: null }],
      },
      {
        kind: 'columns-differ',
        key: ['8'],
        columns: ['name', 'big'].map((name) => ({ name, source: null, lake: null })),
      },
      { kind: 'missing-in-lake', key: ['9'], count: 1 },
      { kind: 'only-in-lake', key: ['99999'], count: 1 },
    ]),
  );
  expect(found['public.note']).toEqual([{ kind: 'only-in-lake', key: [], count: 1 }]);
  expect(found['public.pgbench_branches']).toEqual([
    { kind: 'missing-in-lake', key: ['1'], count: 1 },
  ]);
  expect(found['public.pgbench_accounts']).toEqual([]);
  const text = await runCommandLine(['verify', '--values', '--rows', '1'], { cwd: dir, env });
  expect(text.exit).toBe(7);
  expect(text.stdout).toMatch(/key 7: price is "2.75" in the source, "0.01" in the lake/);
  expect(text.stdout).toContain('… and 3 more (--rows)');
  expect(text.stderr).toContain('source and lake differ in 6 rows');
  expect(await capture.stop()).toBe(0);
});

/** Changes the lake behind everybody's back. */
async function tamper(statements: readonly string[]): Promise<void> {
  const instance = await DuckDBInstance.create(path.join(dir, 'data', 'lake.duckdb'));
  const connection = await instance.connect();
  for (const sql of statements) await connection.run(sql);
  connection.closeSync();
  instance.closeSync();
}

test('a table that is to be read is not waited for while nobody reads the slot', async () => {
  await server.run('shop', `create table late (id int primary key); insert into late values (1)`);
  await server.run('shop', 'alter publication tributary add table late');
  const config = loadConfig(path.join(dir, 'tributary.yaml'), env);
  const { url, publication, slot } = config.source;
  const log = await openLogReader(config);
  const waiting = awaitSnapshot({
    source: { url, publication, wants: () => true },
    slot,
    log,
    prefix: config.log.prefix,
    awayMsMax: 600,
  });
  await expect(waiting).rejects.toMatchObject({
    kind: 'source-unfit',
    message: '1 table is still to be read, and nobody has read slot "tributary" for 0.6 s',
  });
  await log.close();
});
