import { pipeline } from 'node:stream/promises';

import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { closeSession, openSession } from '../../capture/postgres/connection.ts';
import { dropSlot } from '../../capture/postgres/slot.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import {
  type CaptureBench,
  eventually,
  openBench,
  type RunningCapture,
  type SeenRecord,
} from './capture-harness.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  // So small that a few hundred rows are streamed before their transaction ends.
  postgres = await startTestPostgres({ logical_decoding_work_mem: '64kB' });
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

interface Scene {
  readonly bench: CaptureBench;
  readonly capture: RunningCapture;
  readonly url: string;
  readonly run: (sql: string) => Promise<pg.QueryResult>;
  /** Changes of a table once everything written so far is on the log. */
  readonly changes: (table: string) => Promise<readonly SeenRecord[]>;
}

/** A database with tables and a capture of them that has finished its snapshot. */
async function withCapture(
  name: string,
  setup: string,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const url = await postgres.createDatabase(name);
  await postgres.run(name, `${setup}; create publication tributary for all tables`);
  await using bench = await openBench();
  const capture = await bench.startRead(bench.options({ url, slot: name }));
  try {
    const changes = async (table: string): Promise<readonly SeenRecord[]> => {
      await bench.caughtUp(postgres, capture);
      return await bench.records(table);
    };
    await play({ bench, capture, url, run: (sql) => postgres.run(name, sql), changes });
  } finally {
    await capture.stop();
    const session = await openSession({ url });
    await dropSlot(session, name);
    await closeSession(session);
  }
}

const item = 'create table item(id bigint primary key, note text)';

const seen = (records: readonly SeenRecord[]): unknown[] =>
  records.map(({ op, before, after }) => [
    op,
    (after ?? before)?.['id'] ?? null,
    after?.['note'] ?? null,
  ]);

/** Two connections whose transactions interleave. */
async function twoClients(
  url: string,
  play: (first: pg.Client, second: pg.Client) => Promise<void>,
): Promise<void> {
  const [first, second] = [new pg.Client(url), new pg.Client(url)];
  await Promise.all([first.connect(), second.connect()]);
  try {
    await play(first, second);
  } finally {
    await Promise.all([first.end(), second.end()]);
  }
}

test('interleaved transactions come in commit order, each whole', () =>
  withCapture('interleaved', item, async ({ url, changes }) => {
    await twoClients(url, async (first, second) => {
      await first.query(`begin; insert into item values (1, 'first')`);
      await second.query(`begin; insert into item values (2, 'second')`);
      await first.query(`insert into item values (3, 'first')`);
      await second.query(`insert into item values (4, 'second'); commit`);
      await first.query(`insert into item values (5, 'first'); commit`);
    });
    const records = await changes('public.item');
    expect(records.map(({ after }) => after?.['id'])).toEqual([2, 4, 1, 3, 5]);
    expect(new Set(records.map(({ seq }) => seq.slice(0, 21))).size).toBe(2);
  }));

test('rows that share an LSN have positions of their own', () =>
  withCapture('shared_lsn', item, async ({ url, changes }) => {
    const client = new pg.Client(url);
    await client.connect();
    const lines = Array.from({ length: 500 }, (_, n) => `${n}\trow\n`);
    await pipeline(lines, client.query(copyFrom('copy item from stdin')));
    await client.end();
    const records = await changes('public.item');
    expect(records.map(({ after }) => after?.['id'])).toEqual(lines.map((_, n) => n));
    expect(new Set(records.map(({ seq }) => seq)).size).toBe(500);
    expect(new Set(records.map(({ lsn }) => lsn)).size).toBeLessThan(500);
  }));

test('a key change is a delete, a tombstone and an insert half at one position', () =>
  withCapture('key_change', item, async ({ run, changes }) => {
    await run(`insert into item values (1, 'a')`);
    await run(`update item set id = 2 where id = 1`);
    const records = await changes('public.item');
    expect(seen(records)).toEqual([
      ['c', 1, 'a'],
      ['d', 1, null],
      ['tombstone', null, null],
      ['c', 2, 'a'],
    ]);
    expect(records.slice(1).map(({ seq }) => seq.slice(-10))).toEqual([
      '00000001/0',
      '00000001/1',
      '00000001/2',
    ]);
  }));

test('a truncate of several tables is one change for each, in order with the inserts after it', () =>
  withCapture(
    'truncated',
    `${item}; create table other(id bigint primary key references item)`,
    async ({ run, changes }) => {
      await run(`insert into item values (1, 'a')`);
      await run(`begin; truncate item, other; insert into item values (2, 'b'); commit`);
      const items = await changes('public.item');
      const others = await changes('public.other');
      expect(seen(items)).toEqual([
        ['c', 1, 'a'],
        ['t', null, null],
        ['c', 2, 'b'],
      ]);
      expect(seen(others)).toEqual([['t', null, null]]);
      const ordinals = [...items.slice(1), ...others].map(({ seq }) => seq.slice(22, 30));
      expect(ordinals.toSorted()).toEqual(['00000001', '00000002', '00000003']);
    },
  ));

test('what was rolled back never shows, also where it had been streamed', () =>
  withCapture('rolled_back', item, async ({ run, changes }) => {
    const rows = (from: number, note: string): string =>
      `insert into item select n, '${note}' || repeat('x', 200) from generate_series(${from}, ${from + 1999}) n`;
    await run(`begin; ${rows(1, 'ghost')}; rollback`);
    await run(`begin; ${rows(10_001, 'kept')}; savepoint s; ${rows(20_001, 'ghost')};
      savepoint t; ${rows(30_001, 'ghost')}; rollback to s; ${rows(40_001, 'kept')}; commit`);
    const records = await changes('public.item');
    expect(records.filter(({ after }) => String(after?.['note']).startsWith('ghost'))).toEqual([]);
    expect(records).toHaveLength(4000);
    // Ordinals count what survived, without holes.
    expect(records.at(-1)?.seq.slice(22, 30)).toBe(
      (4000).toString(16).toUpperCase().padStart(8, '0'),
    );
    await eventually('statistics that say it was streamed', async () => {
      const { rows: stats } = await run(
        `select stream_txns::int as streamed from pg_stat_replication_slots where slot_name = 'rolled_back'`,
      );
      return stats[0]?.streamed > 0;
    });
  }));

test('a column added in a rolled-back part of a streamed transaction leaves no trace', () =>
  withCapture('ghost_column', item, async ({ run, changes }) => {
    const rows = (from: number): string =>
      `insert into item(id, note) select n, repeat('x', 200) from generate_series(${from}, ${from + 999}) n`;
    await run(`begin; ${rows(1)}; savepoint s; alter table item add column ghost int;
      ${rows(2001)}; rollback to s; ${rows(4001)}; commit`);
    await run(`insert into item values (9999, 'after')`);
    const records = await changes('public.item');
    expect(records).toHaveLength(2001);
    expect(records.filter(({ after }) => after !== null && 'ghost' in after)).toEqual([]);
  }));

test('a streamed transaction keeps its commit order beside small ones', () =>
  withCapture('streamed_order', item, async ({ url, changes }) => {
    const rows = (from: number, note: string): string =>
      `insert into item select n, '${note}' || repeat('x', 200) from generate_series(${from}, ${from + 1999}) n`;
    await twoClients(url, async (first, second) => {
      await first.query(`begin; ${rows(1, 'a')}`);
      await second.query(`begin; ${rows(10_001, 'b')}`);
      await first.query(rows(20_001, 'a'));
      await second.query(`insert into item values (99999, 'b'); commit`);
      await second.query(`insert into item values (99998, 'small')`);
      await first.query('commit');
    });
    const records = await changes('public.item');
    expect(records.map(({ after }) => String(after?.['note'])[0]).join('')).toBe(
      `${'b'.repeat(2001)}s${'a'.repeat(4000)}`,
    );
  }));

test('a column added while streaming is in the records after it', () =>
  withCapture('added_column', item, async ({ bench, run, changes }) => {
    await run(`insert into item values (1, 'a')`);
    await run(`alter table item add column size numeric(10,2) default 1.50`);
    await run(`insert into item values (2, 'b', 2.25)`);
    await run(`alter table item drop column note; insert into item values (3, 3)`);
    const records = await changes('public.item');
    expect(records.map(({ after }) => Object.keys(after ?? {}))).toEqual([
      ['id', 'note'],
      ['id', 'note', 'size'],
      ['id', 'size'],
    ]);
    expect(bench.lines.filter((line) => /error/i.test(line))).toEqual([]);
  }));

test('the origin of a transaction is kept and does not leak into the next', () =>
  withCapture('origins', item, async ({ run, changes }) => {
    await run(`select pg_replication_origin_create('elsewhere')`);
    await run(`select pg_replication_origin_session_setup('elsewhere');
      begin; select pg_replication_origin_xact_setup('0/AA', now()); insert into item values (1, 'a'); commit`);
    await run(`insert into item values (2, 'b')`);
    const records = await changes('public.item');
    expect(records.map(({ origin }) => origin)).toEqual(['elsewhere', null]);
  }));

test('logical messages of others are passed over', () =>
  withCapture('messages', item, async ({ run, changes }) => {
    await run(
      `select pg_logical_emit_message(true, 'note', 'x'), pg_logical_emit_message(false, 'tributary.fence', 'not:ours')`,
    );
    await run(`insert into item values (1, 'a')`);
    expect(seen(await changes('public.item'))).toEqual([['c', 1, 'a']]);
  }));

test('an idle database confirms what its neighbours and unpublished tables write', () =>
  withCapture('idle', item, async ({ run }) => {
    await run(`create unlogged table scratch(n int)`);
    await postgres.run('postgres', `create table if not exists busy(n int)`);
    await postgres.run('postgres', `insert into busy select generate_series(1, 5000)`);
    const target = await postgres.run('postgres', 'select pg_current_wal_lsn()::text as lsn');
    const confirmed = await eventually('the confirmed LSN', async () => {
      const { rows: slots } = await run(
        `select confirmed_flush_lsn >= '${target.rows[0].lsn}' as reached from pg_replication_slots where slot_name = 'idle'`,
      );
      return slots[0].reached === true;
    });
    expect(confirmed).toBe(true);
  }));

test('a table added to the publication is read, with what it held before', async () => {
  const name = 'added_table';
  const url = await postgres.createDatabase(name);
  await postgres.run(
    name,
    `${item}; create table later(id bigint primary key, note text);
    insert into later values (1, 'before'); create publication tributary for table item`,
  );
  await using bench = await openBench();
  await using capture = await bench.startRead(bench.options({ url, slot: name }));
  await postgres.run(name, `alter publication tributary add table later`);
  await postgres.run(name, `insert into later values (2, 'after')`);
  const records = await eventually('both rows', async () => {
    const found = await bench.records('public.later');
    return found.some(({ after }) => after?.['id'] === 1) && found;
  });
  expect(new Set(records.map(({ after }) => after?.['id']))).toEqual(new Set([1, 2]));
  await capture.stop();
});

test.each([
  ['under the name of the root, of which alone there is a topic', true, { root: 4 }],
  ['under their own names where the publication says so', false, { low: 2, high: 2 }],
])('rows of partitions come %s', async (_, viaRoot, expected) => {
  const name = `partitions_${viaRoot}`;
  const url = await postgres.createDatabase(name);
  await postgres.run(
    name,
    `create table root(id int primary key, note text) partition by range (id);
    create table low partition of root for values from (0) to (100);
    create table high partition of root for values from (100) to (200);
    insert into root values (1, 'read'), (101, 'read');
    create publication tributary for table root with (publish_via_partition_root = ${viaRoot})`,
  );
  await using bench = await openBench();
  await using capture = await bench.startRead(bench.options({ url, slot: name }));
  await postgres.run(name, `begin; insert into root values (2, 'a'), (102, 'b'); commit`);
  await bench.caughtUp(postgres, capture);
  const tables = ['root', 'low', 'high'];
  const counted = await Promise.all(
    tables.map(async (table) => [table, (await bench.records(`public.${table}`)).length] as const),
  );
  expect(Object.fromEntries(counted.filter(([, count]) => count > 0))).toEqual(expected);
  const topics = [...(await bench.log.ranges()).keys()];
  expect(tables.filter((table) => topics.includes(`app.public.${table}`))).toEqual(
    Object.keys(expected),
  );
  await postgres.run(name, 'truncate root');
  await bench.caughtUp(postgres, capture);
  const cleared = await bench.records(`public.${Object.keys(expected)[0]}`);
  expect(cleared.at(-1)?.op).toBe('t');
  await capture.stop();
});

test('tables that the patterns leave out are not captured', async () => {
  const name = 'patterns';
  const url = await postgres.createDatabase(name);
  await postgres.run(
    name,
    `${item}; create table secret(id bigint primary key); insert into secret values (1);
    create publication tributary for all tables`,
  );
  await using bench = await openBench();
  const options = bench.options({ url, slot: name, tables: ['public.*', '!public.secret'] });
  await using capture = await bench.startRead(options);
  await postgres.run(
    name,
    `begin; insert into secret values (2); insert into item values (1, 'a'); commit`,
  );
  await bench.caughtUp(postgres, capture);
  expect(await bench.records('public.secret')).toEqual([]);
  // Every published change is counted, so that numbers do not depend on the patterns.
  expect((await bench.records('public.item')).map(({ seq }) => seq.slice(22, 30))).toEqual([
    '00000002',
  ]);
  await capture.stop();
});

test.each([
  ['by_type', 'alter column note type int using length(note)', '2'],
  ['into_its_like', 'alter column note type varchar using upper(note)', 'XX'],
  ['within_its_type', 'alter column note type text using upper(note)', 'XX'],
])('a table whose rows were rewritten (%s) is read again', (...[kind, change, second]) =>
  withCapture(`rewritten_${kind}`, item, async ({ bench, run }) => {
    await run(`insert into item select n, repeat('x', n) from generate_series(1, 5) n`);
    // Nothing is written to it afterwards: the stream never names the table again.
    await run(`alter table item ${change}`);
    const newest = await eventually('every row with its new value', async () => {
      const rows = new Map<unknown, unknown>();
      for (const { after } of await bench.records('public.item')) {
        if (after !== null) rows.set(after['id'], after['note']);
      }
      return String(rows.get(2)) === second && rows;
    });
    expect(newest.size).toBe(5);
  }),
);

test('a table whose files moved is not read again', () =>
  withCapture('moved', item, async ({ bench, run, capture }) => {
    await run(`insert into item select n, repeat('x', n) from generate_series(1, 5) n`);
    await run('vacuum full item');
    await run(`insert into item values (6, 'six')`);
    await bench.caughtUp(postgres, capture);
    expect(bench.lines.filter((line) => line.includes('rewritten'))).toEqual([]);
    expect(await bench.records('public.item')).toHaveLength(6);
  }));
