import { setTimeout as pause } from 'node:timers/promises';

import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { headerUnchanged } from '../../schemas/control.ts';
import { parseLsn } from '../../schemas/lsn.ts';
import { eventually, openBench, type SeenRecord } from '../integration/capture-harness.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { startCaptureProcess, untilRead } from './capture-process.ts';
import { expectHonestLog } from './log-checks.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres({ logical_decoding_work_mem: '64kB' });
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

const rows = 6000;
/** Large enough, and stored so, that it is not sent with an update that leaves it alone. */
const large = `(select string_agg(md5(part || random()::text), '') from generate_series(1, 100) part)`;
const setup = `create table item(id bigint primary key, n int, body text);
  alter table item alter column body set storage external;
  create table nokey(n int, note text); alter table nokey replica identity full;
  insert into item select n, 0, ${large} from generate_series(1, ${rows}) n;
  insert into nokey select n, 'before' from generate_series(1, 500) n;
  create publication tributary for all tables`;

/** One client's life: inserts, updates, deletes and key moves in small transactions. */
async function write(url: string, seed: number, isOn: () => boolean): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  let next = rows * (seed + 2);
  const random = (): number => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return seed;
  };
  while (isOn()) {
    const id = (random() % rows) + 1;
    next += 1;
    const statements = [
      `update item set n = n + 1 where id = ${id}`,
      `update item set n = n + 1, body = ${large} where id = ${id}`,
      `delete from item where id = ${id}`,
      `insert into item values (${id}, -1, ${large}) on conflict do nothing`,
      `update item set id = ${next}, n = n + 100 where id = ${id}`,
      `insert into nokey values (${next}, 'new'); delete from nokey where n = ${id % 500}`,
    ];
    const [first, second] = [statements[random() % 6] ?? '', statements[random() % 6] ?? ''];
    // Two writers may lock the same rows in another order: the loser just goes on.
    await client.query(`begin; ${first}; ${second}; commit`).catch(() => client.query('rollback'));
    await pause(2);
  }
  await client.end();
}

type Row = Readonly<Record<string, unknown>>;

/** What a reader of the log holds in the end: unchanged columns come from the row before, or the key moved from. */
function foldItems(records: readonly SeenRecord[]): Map<unknown, Row> {
  const state = new Map<unknown, Row>();
  let moved: Row = {};
  for (const { op, seq, before, after, headers } of records) {
    if (op === 'd') {
      moved = state.get(before?.['id']) ?? {};
      state.delete(before?.['id']);
    } else if (after !== null) {
      const unchanged = JSON.parse(headers[headerUnchanged] ?? '[]') as string[];
      const base = seq.endsWith('/2') ? moved : (state.get(after['id']) ?? {});
      const kept = Object.fromEntries(unchanged.map((name) => [name, base[name]]));
      state.set(after['id'], { ...after, ...kept });
    }
  }
  return state;
}

/** The same for a table without a key: a multiset of rows. */
function foldKeyless(records: readonly SeenRecord[]): string[] {
  let held: string[] = [];
  for (const { op, before, after } of records) {
    if (op === 't') held = [];
    for (const gone of before === null ? [] : [JSON.stringify(before)]) {
      const at = held.indexOf(gone);
      if (at >= 0) held.splice(at, 1);
    }
    if (after !== null) held.push(JSON.stringify(after));
  }
  return held.toSorted();
}

test('a snapshot beside four writers, killed three times, ends with the source', async () => {
  const slot = 'live';
  const url = await postgres.createDatabase(slot);
  await postgres.run(slot, setup);
  await using bench = await openBench();
  let isOn = true;
  const writers = [1, 2, 3, 4].map((seed) => write(url, seed, () => isOn));
  for (const failpoint of ['append:4', 'progress:1', 'append:5']) {
    await using killed = startCaptureProcess(bench, { url, slot }, failpoint);
    expect(await killed.ended, killed.output()).toBe('SIGKILL');
  }
  await using last = startCaptureProcess(bench, { url, slot });
  await untilRead(last);
  isOn = false;
  await Promise.all(writers);
  const { rows: wal } = await postgres.run('postgres', 'select pg_current_wal_lsn()::text as lsn');
  await eventually('the log is complete', async () => {
    const newest = (await bench.watermarks()).findLast((watermark) => watermark.publish);
    return newest !== undefined && parseLsn(newest.lsn) >= parseLsn(wal[0].lsn);
  });
  const items = foldItems(await bench.records('public.item'));
  const source = await postgres.run(slot, 'select id::int, n, body from item order by id');
  const found = [...items.values()].toSorted((a, b) => Number(a['id']) - Number(b['id']));
  expect(found.length).toBe(source.rows.length);
  expect(found).toEqual(source.rows);
  const keyless = await postgres.run(slot, 'select n, note from nokey');
  expect(foldKeyless(await bench.records('public.nokey'))).toEqual(
    keyless.rows.map((row) => JSON.stringify(row)).toSorted(),
  );
  await expectHonestLog(bench, ['public.item', 'public.nokey']);
  expect(await last.stop()).toBe(0);
});
