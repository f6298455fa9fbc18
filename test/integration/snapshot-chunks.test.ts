import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SnapshotProgress } from '../../capture/snapshot/chunk-reader.ts';
import { startTestPostgres, testPostgresMajor, type TestPostgres } from '../support/postgres.ts';
import {
  connectTo,
  describeTable,
  type DriverOptions,
  fold,
  publishedTables,
  SnapshotDriver,
  sourceRows,
} from './snapshot-driver.ts';

let server: TestPostgres;
let databases = 0;
beforeAll(async () => {
  server = await startTestPostgres({ autovacuum: 'off' });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

interface Source extends AsyncDisposable {
  readonly url: string;
  readonly client: pg.Client;
  readonly driver: SnapshotDriver;
  /** Waits for the end, compares every published table with the fold of what was emitted. */
  differences(): Promise<readonly string[]>;
}

/** A database with these tables, a publication of all of them, a slot, and a driver that is not started. */
async function prepare(sql: string, options: Partial<DriverOptions> = {}): Promise<Source> {
  databases += 1;
  const name = `snapshot_${databases}`;
  const url = await server.createDatabase(name);
  const client = await connectTo(url);
  await client.query(`set search_path = public; ${sql}`);
  await client.query(`create publication tributary for all tables`);
  await client.query(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [name]);
  const driver = new SnapshotDriver({ url, slot: name, publication: 'tributary', ...options });
  return {
    url,
    client,
    driver,
    differences: async () => {
      await driver.complete();
      const found: string[] = [];
      for (const table of await publishedTables(client, 'tributary')) {
        const lake = fold(driver.emitted, table);
        const source = await sourceRows(client, table);
        if (lake.length !== source.length) {
          found.push(`${table.name}: ${lake.length} rows, source ${source.length}`);
        }
        const wrong = lake.filter((row, at) => row !== source[at]).slice(0, 3);
        found.push(...wrong.map((row) => `${table.name}: ${row.slice(0, 200)}`));
      }
      return found;
    },
    [Symbol.asyncDispose]: async () => {
      await driver[Symbol.asyncDispose]();
      await client.end();
    },
  };
}

/** Runs statements on connections of their own until stopped; a statement that conflicts is tried no more. */
function write(url: string, writers: number, statement: (random: () => number) => string) {
  let isStopped = false;
  let count = 0;
  const run = async (): Promise<void> => {
    const client = await connectTo(url);
    await client.query(`set search_path = public`);
    while (!isStopped) {
      await client.query(statement(Math.random)).catch(async (error: unknown) => {
        if (!/duplicate key|deadlock/.test(String(error))) throw error;
        // The statement may have begun a transaction that it could not end.
        await client.query('rollback');
      });
      count += 1;
    }
    await client.end();
  };
  const running = Promise.all(Array.from({ length: writers }, run));
  return {
    count: () => count,
    stop: async () => {
      isStopped = true;
      await running;
    },
  };
}

const itemsSql = /* sql */ `
  create table items (id int primary key, n int, note text, big text);
  alter table items alter big set storage external;
  insert into items select i, i, 'note ' || i, case when i % 10 = 0 then repeat(md5(i::text), 80) end
    from generate_series(1, 20000) i`;

function itemStatement(random: () => number): string {
  const id = 1 + Math.floor(random() * 20_000);
  const other = 1 + Math.floor(random() * 30_000);
  const what = random();
  if (what < 0.35) return `update items set n = n + 1 where id = ${id - (id % 10)}`;
  if (what < 0.5) return `update items set note = 'a\\b' || chr(9) || ${other} where id = ${id}`;
  if (what < 0.6) return `update items set big = repeat(md5('${other}'), 90) where id = ${id}`;
  if (what < 0.75) return `update items set id = ${other} where id = ${id - (id % 10)}`;
  if (what < 0.85) return `delete from items where id = ${id}`;
  const fresh = `insert into items values (${other}, 0, null, repeat(md5('${id}'), 100))`;
  if (what < 0.95) return fresh;
  return `begin; delete from items where id = ${id}; update items set n = -1 where id < 20;
    insert into items values (${id}, 7, 'again', null); update items set note = 'twice' where id = ${id}; commit`;
}

describe('a snapshot beside four writers', () => {
  test('ends equal to the source: inserts, updates, deletes, key moves, unchanged TOAST', async () => {
    await using source = await prepare(itemsSql, { limits: { chunkRowsMax: 1_500 } });
    const writers = write(source.url, 4, itemStatement);
    await source.driver.start();
    await source.driver.until(() => !source.driver.snapshot!.active && writers.count() > 500);
    await writers.stop();
    expect(await source.differences()).toEqual([]);
    expect(source.driver.emitted.filter((change) => change.op === 'read').length).toBeGreaterThan(
      0,
    );
  });

  test('resumes after crashes with what was durable, and reads no finished range again', async () => {
    await using source = await prepare(itemsSql, { limits: { chunkRowsMax: 1_000 } });
    const { driver } = source;
    const writers = write(source.url, 2, itemStatement);
    for (const rows of [3_000, 8_000, 14_000]) {
      await driver.start();
      await driver.until(
        () => (driver.durable.state?.tables['public.items']?.rowsRead ?? 0) >= rows,
      );
      await driver.crash();
    }
    await driver.start();
    await driver.until(() => !driver.snapshot!.active);
    await writers.stop();
    expect(await source.differences()).toEqual([]);
    expect(driver.durable.state!.tables['public.items']!.rowsRead).toBeLessThan(25_000);
  });

  test('goes on when the backend that reads is killed', async () => {
    await using source = await prepare(itemsSql, {
      limits: { chunkRowsMax: 500, retryPauseMs: 5 },
    });
    const { driver, client } = source;
    const writers = write(source.url, 2, itemStatement);
    await driver.start();
    let kills = 0;
    while (driver.snapshot!.active) {
      const killed = await client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
           and (query ~ '^ *(copy|begin isolation|with tributary)' or query ~ 'pg_logical_emit')`,
      );
      kills += killed.rowCount ?? 0;
      await sleep(30);
      if (kills > 10) break;
    }
    await driver.until(() => !driver.snapshot!.active);
    await writers.stop();
    expect(await source.differences()).toEqual([]);
    expect(kills).toBeGreaterThan(0);
  });

  test('begins again when a rewrite moves the rows, and survives a truncate', async () => {
    await using source = await prepare(itemsSql, { limits: { chunkRowsMax: 700 } });
    const { driver, client } = source;
    await driver.start();
    const rowsRead = () => driver.snapshot!.state().tables['public.items']!.rowsRead;
    await driver.until(() => rowsRead() > 5_000);
    await client.query(`delete from public.items where id < 8000`);
    await client.query(`vacuum full public.items`);
    await driver.until(() => rowsRead() > 1_000);
    await client.query(
      `begin; truncate public.items; insert into public.items values (1, 1, 'after', null); commit`,
    );
    expect(await source.differences()).toEqual([]);
  });
});

describe('a table without a key', () => {
  test.each([
    [
      'REPLICA IDENTITY FULL with updates and deletes',
      'alter table facts replica identity full',
      true,
    ],
    ['inserts only', 'alter table facts replica identity default', false],
  ])('is read whole beside its writers: %s', async (_, identity, hasUpdates) => {
    await using source = await prepare(/* sql */ `
      create table facts (kind int, body text); ${identity};
      insert into facts select i % 50, case when i % 100 = 0 then repeat('x' || i, 1500) else 'b' end
        from generate_series(1, 20000) i`);
    const writers = write(source.url, 4, (random) => {
      const kind = Math.floor(random() * 60);
      const what = hasUpdates ? random() : 1;
      const one = `ctid = (select ctid from facts where kind = ${kind} limit 1)`;
      if (what < 0.3) return `update facts set kind = kind + 1 where ${one}`;
      if (what < 0.5) return `delete from facts where ${one}`;
      return `insert into facts values (${kind}, 'new ${kind}'), (${kind}, 'new ${kind}')`;
    });
    await source.driver.start();
    await source.driver.until(() => !source.driver.snapshot!.active && writers.count() > 300);
    await writers.stop();
    expect(await source.differences()).toEqual([]);
  });

  test('that is larger than may be read in one piece ends the snapshot with a typed error', async () => {
    await using source = await prepare(
      `create table facts (body text); insert into facts select repeat('x', 500) from generate_series(1, 20000)`,
      { limits: { wholeBytesMax: 1_000_000 } },
    );
    await source.driver.start();
    await expect(source.driver.complete()).rejects.toMatchObject({ kind: 'source-unfit' });
  });
});

test('keys of every shape: composite, text with quotes, uuid, quoted names, repaired one by one', async () => {
  const big = `repeat(md5(i::text), 90)`;
  await using source = await prepare(
    /* sql */ `
    create table pairs (b text, a int, n int, big text, primary key (a, b));
    insert into pairs select 'k''"\\' || i, i % 7, 0, ${big} from generate_series(1, 500) i;
    create table uuids (id uuid primary key, n int, big text);
    insert into uuids select md5(i::text)::uuid, 0, ${big} from generate_series(1, 500) i;
    create table "Odd ""t"".x" ("The ""Key""" varchar(20) primary key, n int, "quoted'\\" text);
    insert into "Odd ""t"".x" select 'ключ ' || i || chr(10), 0, ${big} from generate_series(1, 500) i;
    create table moments (at timestamptz, day date, n int, big text, primary key (at, day));
    insert into moments select '2020-01-01'::timestamptz + i * interval '1 s', '2020-01-01'::date + i, 0, ${big}
      from generate_series(1, 500) i;
    create type mood as enum ('sad', 'ok'); create domain short as varchar(9);
    create table moods (m mood, s short, n numeric, big text, primary key (m, s, n));
    insert into moods select (array['sad', 'ok'])[1 + i % 2]::mood, 's' || i, i + 0.50, ${big} from generate_series(1, 200) i`,
    { limits: { chunkRowsMax: 100, repairKeysMax: 20 } },
  );
  const statements = [
    `update pairs set n = n + 1`,
    `update uuids set n = n + 1`,
    `update "Odd ""t"".x" set n = n + 1`,
    `update moments set n = n + 1`,
    `update moods set s = s || 'x' where length(s) < 8`,
    `update pairs set a = a + 7 where a < 3`,
  ];
  await source.driver.start();
  const writers = write(source.url, 1, (random) => statements[Math.floor(random() * 6)]!);
  await source.driver.until(() => writers.count() > 20);
  await writers.stop();
  expect(await source.differences()).toEqual([]);
});

test('an empty table and one of dead tuples only are complete without a row', async () => {
  await using source = await prepare(/* sql */ `
    create table empty (id int primary key);
    create table dead (id int primary key); insert into dead select generate_series(1, 5000); delete from dead;
    create table keyless_empty (id int)`);
  await source.driver.start();
  expect(await source.differences()).toEqual([]);
  expect(source.driver.emitted.filter((change) => change.op === 'read')).toEqual([]);
  await source.client.query(
    `insert into public.empty values (1); insert into public.dead values (1)`,
  );
  expect(await source.differences()).toEqual([]);
});

test.skipIf(testPostgresMajor < 15)(
  'column lists, row filters and a partitioned root are read as they are published',
  async () => {
    await using source = await prepare(/* sql */ `
    create table t (id int primary key, secret text, n int generated always as (id * 2) stored, shown text);
    insert into t (id, secret, shown) select i, 'secret', 'shown ' || i from generate_series(1, 300) i;
    create table parts (id int, at date, primary key (id, at)) partition by range (at);
    create table parts_1 partition of parts for values from ('2020-01-01') to ('2021-01-01');
    create table parts_2 (at date not null, id int not null);
    alter table parts attach partition parts_2 for values from ('2021-01-01') to ('2022-01-01');
    insert into parts select i, '2020-06-01'::date + i from generate_series(1, 400) i`);
    await source.client.query(/* sql */ `
    drop publication tributary;
    create publication tributary for table public.t (id, shown) where (id > 100), table public.parts
      with (publish_via_partition_root = true)`);
    await source.driver.start();
    await source.driver.complete();
    const shown = source.driver.emitted.flatMap((change) =>
      change.op === 'read' && change.table === 'public.t' ? [Object.keys(change.after)] : [],
    );
    expect(shown.length).toBe(200);
    expect(shown[0]).toEqual(['id', 'shown']);
    const parts = await describeTable(source.client, 'tributary', {
      schema: 'public',
      name: 'parts',
    });
    expect(fold(source.driver.emitted, parts!)).toEqual(await sourceRows(source.client, parts!));
  },
);

test('a transaction open before the reading began is awaited, and its rows come exactly once', async () => {
  const told: SnapshotProgress[] = [];
  await using source = await prepare(
    `create table facts (id int); create table items (id int primary key, n int)`,
    {
      onProgress: (progress) => told.push(progress),
    },
  );
  const open = await connectTo(source.url);
  await open.query(
    `begin; insert into public.facts values (1); insert into public.items values (1, 1)`,
  );
  const bystander = await connectTo(source.url);
  await bystander.query(`begin; select pg_current_xact_id()`);
  await source.driver.start();
  await source.driver.until(() => told.some((progress) => progress.phase === 'waiting'));
  expect(
    told.every((progress) => progress.phase === 'waiting' && progress.transactions === 1),
  ).toBe(true);
  await open.query(`commit`);
  await source.driver.complete();
  expect(await source.differences()).toEqual([]);
  await bystander.query(`rollback`);
  await Promise.all([open.end(), bystander.end()]);
});

test('no LSN is confirmed while a transaction that ran at the beginning goes on', async () => {
  await using source = await prepare(
    `create table items (id int primary key); insert into items values (1)`,
  );
  const open = await connectTo(source.url);
  await open.query(`begin; select pg_current_xact_id()`);
  await source.driver.start();
  await source.driver.complete();
  expect(source.driver.snapshot!.confirmCeiling()).toBe(0n);
  expect(source.driver.confirmedLsn).toBe(0n);
  await open.query(`commit`);
  await source.driver.until(() => source.driver.snapshot!.confirmCeiling() === null);
  await open.end();
});

test('a table dropped in the middle is done, one altered in the middle is read with its new columns', async () => {
  await using source = await prepare(
    `${itemsSql}; create table gone (id int primary key); insert into gone select generate_series(1, 30000)`,
    { limits: { chunkRowsMax: 1_000 } },
  );
  const { driver, client } = source;
  await driver.start();
  const rowsRead = (name: string) => driver.snapshot!.state().tables[name]!.rowsRead;
  await driver.until(() => rowsRead('public.gone') > 5_000);
  await client.query(`drop table public.gone`);
  await driver.until(() => rowsRead('public.items') > 3_000);
  await client.query(`alter table public.items add extra text`);
  await client.query(`update public.items set extra = 'x' where id % 50 = 0`);
  await driver.complete();
  const state = driver.snapshot!.state();
  expect(state.tables['public.gone']!.done).toBe(true);
  const table = await describeTable(client, 'tributary', { schema: 'public', name: 'items' });
  const normal = (rows: string[]) =>
    rows.map((row) => JSON.stringify({ extra: null, ...(JSON.parse(row) as object) })).toSorted();
  const late = driver.emitted.filter(
    (change) => change.op === 'read' && change.table === 'public.items' && 'extra' in change.after,
  );
  expect(late.length).toBeGreaterThan(1_000);
  expect(normal(fold(driver.emitted, table!))).toEqual(normal(await sourceRows(client, table!)));
});

test('a locked table is waited for, a table that may not be read is a typed error', async () => {
  await server.run('postgres', `create role reader login replication password 'r'`);
  const told: SnapshotProgress[] = [];
  await using source = await prepare(
    `create table items (id int primary key); insert into items values (1); grant usage on schema public to reader`,
    {
      limits: { lockTimeoutMs: 50 },
      onProgress: (progress) => told.push(progress),
    },
  );
  await source.driver.start();
  await source.driver.complete();
  told.length = 0;
  const again = await publishedTables(source.client, 'tributary');
  const locker = await connectTo(source.url);
  await locker.query(`begin; lock table public.items`);
  source.driver.snapshot!.request(again);
  await source.driver.until(() => told.some((progress) => progress.phase === 'waiting'));
  await locker.query(`rollback`);
  await locker.end();
  expect(await source.differences()).toEqual([]);
  await source.driver.crash();
  source.driver.durable = { state: null, lsn: 0n };
  const readerUrl = source.url.replace(/\/\/[^@]*@/, '//reader:r@');
  const denied = new SnapshotDriver({
    url: source.url,
    slot: source.url.split('/').at(-1)!,
    publication: 'tributary',
    connect: async () => await connectTo(readerUrl),
  });
  await denied.start();
  await expect(denied.complete()).rejects.toMatchObject({ kind: 'source-denied' });
  await denied.crash();
});

test('tables asked for later are read beside the stream, again or for the first time', async () => {
  await using source = await prepare(itemsSql, { limits: { chunkRowsMax: 5_000 } });
  const { driver, client } = source;
  await driver.start();
  await driver.complete();
  await client.query(`create table public.later (id int primary key, body text)`);
  await client.query(`insert into public.later select i, 'b' from generate_series(1, 5000) i`);
  const writers = write(source.url, 2, itemStatement);
  const before = driver.emitted.length;
  driver.snapshot!.request(await publishedTables(client, 'tributary'));
  expect(driver.snapshot!.active).toBe(true);
  await driver.until(() => !driver.snapshot!.active);
  await writers.stop();
  expect(await source.differences()).toEqual([]);
  const again = driver.emitted.slice(before).filter((change) => change.op === 'read');
  expect(again.filter((change) => change.table === 'public.later').length).toBeGreaterThan(0);
  expect(again.filter((change) => change.table === 'public.items').length).toBeGreaterThan(15_000);
});
