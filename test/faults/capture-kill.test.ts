import { setTimeout as pause } from 'node:timers/promises';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { parseLsn } from '../../schemas/lsn.ts';
import { readProgress } from '../../capture/progress.ts';
import {
  eventually,
  openBench,
  prefix,
  type CaptureBench,
} from '../integration/capture-harness.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { startCaptureProcess, untilRead, type CaptureProcess } from './capture-process.ts';
import { expectHonestLog } from './log-checks.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres({ logical_decoding_work_mem: '64kB' });
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

const setup = `create table token(id bigint primary key, note text);
  create table nokey(id bigint, note text);
  create publication tributary for all tables`;

/** Commits transactions of one row, of several, and one large enough to be streamed, until stopped. */
function startTraffic(database: string): { stop: () => Promise<number> } {
  let isOn = true;
  let next = 1;
  const loop = (async () => {
    while (isOn) {
      const count = next % 7 === 0 ? 600 : 1 + (next % 5);
      await postgres.run(
        database,
        `insert into token select n, repeat('x', 150) from generate_series(${next}, ${next + count - 1}) n;
         insert into nokey values (${next}, 'a')`,
      );
      next += count;
      await pause(5);
    }
    return next - 1;
  })();
  return {
    stop: async () => {
      isOn = false;
      return await loop;
    },
  };
}

async function untilComplete(bench: CaptureBench, running: CaptureProcess): Promise<void> {
  const { rows } = await postgres.run('postgres', 'select pg_current_wal_lsn()::text as lsn');
  await eventually(`the log reaches ${rows[0].lsn}`, async () => {
    if (running.child.exitCode !== null) throw new Error(`capture ended: ${running.output()}`);
    const newest = (await bench.watermarks()).findLast((watermark) => watermark.publish);
    return newest !== undefined && parseLsn(newest.lsn) >= parseLsn(rows[0].lsn);
  });
}

test.each([
  ['read', 'read:2000'],
  ['transcode', 'transcode:700'],
  ['append', 'append:3'],
  ['watermark', 'watermark:2'],
  ['progress', 'progress:2'],
  ['confirm', 'confirm:2'],
])('kill -9 after %s loses nothing and doubles nothing', async (name, failpoint) => {
  const slot = `kill_${name}`;
  const url = await postgres.createDatabase(slot);
  await postgres.run(slot, setup);
  await using bench = await openBench();
  {
    await using first = startCaptureProcess(bench, { url, slot });
    await untilRead(first);
    expect(await first.stop()).toBe(0);
  }
  const traffic = startTraffic(slot);
  for (let kills = 0; kills < 2; kills += 1) {
    await using killed = startCaptureProcess(bench, { url, slot }, failpoint);
    expect(await killed.ended, killed.output()).toBe('SIGKILL');
  }
  const written = await traffic.stop();
  await using last = startCaptureProcess(bench, { url, slot });
  await untilComplete(bench, last);
  const tokens = (await bench.records('public.token')).filter(({ op }) => op === 'c');
  expect(tokens.map(({ after }) => after?.['id'])).toEqual(
    Array.from({ length: written }, (_, index) => index + 1),
  );
  await expectHonestLog(bench, ['public.token', 'public.nokey']);
  expect(await last.stop()).toBe(0);
});

test('the confirmed LSN never passes what is durable', async () => {
  const slot = 'poll';
  const url = await postgres.createDatabase(slot);
  await postgres.run(slot, setup);
  await using bench = await openBench();
  await using running = startCaptureProcess(bench, { url, slot });
  await untilRead(running);
  const traffic = startTraffic(slot);
  let polls = 0;
  const confirmed = new Set<bigint>();
  while (confirmed.size < 20) {
    const { rows } = await postgres.run(
      'postgres',
      `select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = '${slot}'`,
    );
    const lsn = parseLsn(rows[0].lsn);
    const progress = await readProgress(bench.log, prefix);
    expect(parseLsn(progress?.lsn ?? '0/0')).toBeGreaterThanOrEqual(lsn);
    confirmed.add(lsn);
    polls += 1;
  }
  expect(polls).toBeGreaterThanOrEqual(20);
  await traffic.stop();
  expect(await running.stop()).toBe(0);
});

test('a streamed transaction of 200,000 rows passes through flat memory', async () => {
  const slot = 'huge';
  const url = await postgres.createDatabase(slot);
  await postgres.run(slot, setup);
  await using bench = await openBench();
  await using running = startCaptureProcess(bench, { url, slot });
  await untilRead(running);
  await postgres.run(
    slot,
    `insert into token select n, repeat('x', 300) from generate_series(1, 200000) n`,
  );
  await untilComplete(bench, running);
  expect(await running.stop()).toBe(0);
  const rssMax = Number(/rss (\d+)/.exec(running.output())?.[1]);
  expect(rssMax).toBeLessThan(400 * 1024 * 1024);
  const { rows } = await postgres.run(
    slot,
    `select stream_txns::int as streamed from pg_stat_replication_slots where slot_name = '${slot}'`,
  );
  expect(rows[0].streamed).toBeGreaterThan(0);
  const inside = (await bench.watermarks()).filter((watermark) => !watermark.publish);
  expect(inside.length).toBeGreaterThan(0);
  const records = await bench.records('public.token');
  expect(records).toHaveLength(200_000);
});

test('kill -9 in the middle of a huge streamed transaction leaves each row once', async () => {
  const slot = 'torn';
  const url = await postgres.createDatabase(slot);
  await postgres.run(slot, setup);
  await using bench = await openBench();
  {
    await using first = startCaptureProcess(bench, { url, slot });
    await untilRead(first);
    expect(await first.stop()).toBe(0);
  }
  await postgres.run(
    slot,
    `insert into token select n, repeat('x', 300) from generate_series(1, 20000) n`,
  );
  for (let kills = 0; kills < 2; kills += 1) {
    await using killed = startCaptureProcess(bench, { url, slot }, 'append:2');
    expect(await killed.ended, killed.output()).toBe('SIGKILL');
  }
  const torn = await bench.records('public.token');
  expect(torn.length).toBeGreaterThan(0);
  expect(torn.length).toBeLessThan(20_000);
  await using last = startCaptureProcess(bench, { url, slot });
  await untilComplete(bench, last);
  expect((await bench.records('public.token')).map(({ after }) => after?.['id'])).toEqual(
    Array.from({ length: 20_000 }, (_, index) => index + 1),
  );
  await expectHonestLog(bench, ['public.token', 'public.nokey']);
  expect(await last.stop()).toBe(0);
});

test('a fast shutdown of the server ends cleanly while capture streams', async () => {
  await using server = await startTestPostgres();
  await server.run('postgres', setup);
  await using bench = await openBench();
  const url = server.url('postgres');
  await using running = startCaptureProcess(bench, { url, slot: 'shutdown' });
  await untilRead(running);
  await server.run('postgres', `insert into token values (1, 'a')`);
  const startedMs = performance.now();
  await server.stop('fast');
  expect(performance.now() - startedMs).toBeLessThan(5000);
  // It waits for the server to come back.
  expect(running.child.exitCode, running.output()).toBeNull();
});
