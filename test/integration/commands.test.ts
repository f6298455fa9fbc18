import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { freePort } from '../../commands/stack/postgres.ts';
import { createLeaseOwner } from '../../sinks/duckdb/lease.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { runCommandLine } from '../support/command-line.ts';
import { metricOf } from '../support/metric-of.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { startCommandLine } from '../support/spawn.ts';

let server: TestPostgres;
let dir: string;
let database: string;
let databaseCount = 0;

beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  databaseCount += 1;
  database = `shop_${databaseCount}`;
  const slot = database;
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-commands-'));
  await server.createDatabase(database);
  await server.run(
    database,
    `create table orders (id int primary key, total numeric(10,2), note text);
     insert into orders select i, i * 1.5, 'old' from generate_series(1, 5) i;
     create publication tributary for table orders;`,
  );
  await configure();
  return async () => {
    await server.run(
      database,
      `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '${slot}'`,
    );
    await rm(dir, { recursive: true, force: true });
  };
});

async function configure(more = ''): Promise<void> {
  const text = `
source: { url: "\${DATABASE_URL}", slot: ${database} }
log: { type: embedded, path: ./log, prefix: app }
sinks: { lake: { type: duckdb, path: ./lake.duckdb } }
${more}`;
  await writeFile(path.join(dir, 'tributary.yaml'), text);
}

const run = (words: readonly string[], url = server.url(database)) =>
  runCommandLine(words, { cwd: dir, env: { DATABASE_URL: url } });

test('run carries changes into the lake, and Ctrl-C ends all of it with everything kept', async () => {
  const port = await freePort();
  await configure(`metrics: { port: ${port} }`);
  await using running = startCommandLine(['run'], {
    cwd: dir,
    env: { DATABASE_URL: server.url(database) },
  });
  await running.waitFor(/every table is read/);
  await server.run(
    database,
    `update orders set note = 'new' where id = 2; delete from orders where id = 3`,
  );

  const tail = await run(['tail', 'orders', '--from-start', '--json', '--count', '7']);
  expect({ exit: tail.exit, stderr: tail.stderr }).toEqual({ exit: 0, stderr: '' });
  const changes = tail.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { op: string; seq: string; after: unknown });
  expect(changes.map(({ op }) => op)).toEqual(['r', 'r', 'r', 'r', 'r', 'u', 'd']);
  expect(changes.map(({ seq }) => seq)).toEqual(changes.map(({ seq }) => seq).toSorted());
  expect(changes[5]?.after).toEqual({ id: '2', total: '3.00', note: 'new' });
  const typo = await run(['tail', 'ordrs']);
  expect(typo).toEqual({
    exit: 2,
    stdout: '',
    stderr:
      'error: the log has no table public.ordrs; did you mean "public.orders"?\nTry: tributary tail public.orders\n',
  });

  // Five rows read, an update, a delete and its tombstone.
  await vi.waitUntil(async () => (await metricOf(port + 1, 'tributary_sink_records_total')) >= 8, {
    timeout: 60_000,
  });
  expect(await metricOf(port, 'tributary_capture_records_total')).toBe(8);
  expect(await running.stop('SIGINT')).toBe(0);

  await using lake = await openLakeReader(path.join(dir, 'lake.duckdb'));
  const rows = await lake.rows(
    'select id, total::varchar as total, note from public.orders order by id',
  );
  expect(rows).toEqual([
    { id: 1, total: '1.50', note: 'old' },
    { id: 2, total: '3.00', note: 'new' },
    { id: 4, total: '6.00', note: 'old' },
    { id: 5, total: '7.50', note: 'old' },
  ]);
});

test('the transaction topic is no table to status and tail', async () => {
  await configure('capture: { transaction_topic: true }');
  await using running = startCommandLine(['run'], {
    cwd: dir,
    env: { DATABASE_URL: server.url(database) },
  });
  await running.waitFor(/every table is read/);
  await server.run(database, `update orders set note = 'new' where id = 2`);
  const tail = await run(['tail', 'orders', '--from-start', '--json', '--count', '6']);
  expect(tail.exit).toBe(0);
  const { log } = JSON.parse((await run(['status', '--json'])).stdout) as {
    log: { tables: number; records: number };
  };
  expect(log).toMatchObject({ tables: 1, records: 6 });
  const typo = await run(['tail', 'transactions']);
  expect(typo.stderr).toBe(
    'error: the log has no table public.transactions\nTry: tributary tail public.orders\n',
  );
  expect(await running.stop('SIGTERM')).toBe(0);
});

test('status names what is not there yet, then shows each stage', async () => {
  const before = await run(['status']);
  expect(before.exit).toBe(4);
  expect(before.stdout).toContain('the slot does not exist yet: capture makes it');
  expect(before.stdout).toContain('nothing is loaded yet');

  await using capture = startCommandLine(['capture'], {
    cwd: dir,
    env: { DATABASE_URL: server.url(database) },
  });
  await capture.waitFor(/every table is read/);
  const after = await run(['status', '--json']);
  expect(after.exit).toBe(0);
  expect(JSON.parse(after.stdout)).toMatchObject({
    source: { slot: { name: database, isActive: true, walStatus: 'reserved' } },
    log: { tables: 1, records: 5, loading: [] },
    sinks: { lake: { epoch: 0 } },
  });
  expect(await capture.stop('SIGTERM')).toBe(0);
});

test('check finds nothing wrong, or says what, why and the SQL that mends it', async () => {
  const good = await run(['check']);
  expect(good.exit).toBe(0);
  await server.run(database, 'drop publication tributary');
  const bad = await run(['check']);
  expect(bad.exit).toBe(3);
  expect(bad.stdout).toMatch(/error .*publication/);
  expect(bad.stdout).toMatch(/^ {4}create publication[^;]*;$/m);
  const { findings } = JSON.parse((await run(['check', '--json'])).stdout) as {
    findings: { severity: string }[];
  };
  expect(findings.filter(({ severity }) => severity === 'error')).toHaveLength(1);
});

test('models without a lake are told what makes one; those that Ctrl-C breaks off are no defect', async () => {
  await configure('models: { sink: lake, mapping: ./mapping.yaml }');
  await writeFile(path.join(dir, 'mapping.yaml'), 'version: 1\nmaster: null\ntables: {}\n');
  const early = await run(['models', 'build']);
  expect(early.exit).toBe(5);
  expect(early.stderr).toMatch(
    /lake .*lake\.duckdb does not exist yet.*\n {2}hint: start `tributary run`/,
  );
  // A sink that never lends its lake: the models wait for it.
  using sink = createLeaseOwner(path.join(dir, 'lake.duckdb'));
  await using models = startCommandLine(['models', 'build'], {
    cwd: dir,
    env: { DATABASE_URL: server.url(database) },
  });
  await vi.waitUntil(() => sink.requested() !== null, { timeout: 30_000 });
  expect(await models.stop('SIGINT')).toBe(130);
  expect(models.output()).toBe(
    'SIGINT: finishing what is in hand (once more stops at once)\nstopped before it was done\n',
  );
});

describe('a source that cannot be had ends capture with its kind and exit code 3, and no password', () => {
  test.each([
    ['wrong password', (url: URL) => (url.password = 'open-sesame'), 'source-denied'],
    ['no server', (url: URL) => (url.port = '1'), 'source-unreachable'],
    ['no such database', (url: URL) => (url.pathname = '/nowhere'), 'source-'],
  ])('%s', async (_case, change, kind) => {
    await configure('retry: { during: 0 s }');
    const url = new URL(server.url(database));
    change(url);
    for (const command of ['capture', 'check']) {
      const { exit, stderr } = await run([command], url.href);
      expect({ command, exit }).toEqual({ command, exit: 3 });
      expect(stderr).toContain(`(${kind}`);
      expect(stderr).toContain('hint: ');
      expect(stderr).not.toContain(url.password);
    }
  });

  test('under run the role that failed is named, and its exit code is the answer', async () => {
    const url = server.url(database).replace(server.password, 'open-sesame');
    const { exit, stderr } = await run(['run'], url);
    expect(exit).toBe(3);
    expect(stderr).toMatch(/^error: capture: .*\(source-denied\)$/m);
    expect(stderr).not.toContain('open-sesame');
  });
});

test('a sink that is not configured is answered with those that are', async () => {
  expect(await run(['sink', 'lak'])).toEqual({
    exit: 2,
    stdout: '',
    stderr:
      'error: the configuration has no sink "lak"; did you mean "lake"?\nTry: tributary sink lake\n',
  });
});
