import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { readProgress } from '../../capture/progress.ts';
import { PipelineError } from '../../runtime/errors.ts';
import {
  eventually,
  openBench,
  prefix,
  type CaptureBench,
} from '../integration/capture-harness.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

const setup = `create table item(id bigint primary key, note text);
  insert into item values (1, 'a'); create publication tributary for all tables`;

/** A capture that ran, wrote and stopped: its log is complete up to some LSN. */
async function ranOnce(bench: CaptureBench, name: string): Promise<string> {
  const url = await postgres.createDatabase(name);
  await postgres.run(name, setup);
  const capture = await bench.startRead(bench.options({ url, slot: name }));
  await bench.caughtUp(postgres, capture);
  await capture.stop();
  return url;
}

/** Starts capture and gives the error that ends it. */
async function refusal(
  bench: CaptureBench,
  source: { readonly url: string; readonly slot: string; readonly publication?: string },
): Promise<PipelineError> {
  await using capture = bench.start(bench.options(source));
  const error: unknown = await capture.ended.then(
    () => new Error('capture ended without an error'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PipelineError);
  return error as PipelineError;
}

/** What a person sees of an error. */
function told(error: unknown): Pick<PipelineError, 'kind' | 'message' | 'hint'> {
  expect(error).toBeInstanceOf(PipelineError);
  const { kind, message, hint } = error as PipelineError;
  return { kind, message, hint };
}

test('a slot that was advanced by hand is refused', async () => {
  await using bench = await openBench();
  const url = await ranOnce(bench, 'advanced');
  await postgres.run('advanced', `insert into item values (2, 'missed')`);
  await postgres.run(
    'advanced',
    `select pg_replication_slot_advance('advanced', pg_current_wal_lsn())`,
  );
  expect(told(await refusal(bench, { url, slot: 'advanced' }))).toEqual({
    kind: 'source-gap',
    message: expect.stringMatching(
      /slot "advanced" stands at LSN .*, the log is complete only up to/,
    ),
    hint: expect.stringMatching(/tributary repair/),
  });
  expect((await bench.records('public.item')).map(({ after }) => after?.['id'])).toEqual([1]);
});

test('a slot that was dropped and created again is refused', async () => {
  await using bench = await openBench();
  const url = await ranOnce(bench, 'recreated');
  await postgres.run('recreated', `select pg_drop_replication_slot('recreated')`);
  await postgres.run('recreated', `insert into item values (2, 'missed')`);
  await postgres.run(
    'recreated',
    `select pg_create_logical_replication_slot('recreated', 'pgoutput')`,
  );
  expect(told(await refusal(bench, { url, slot: 'recreated' }))).toEqual({
    kind: 'source-gap',
    message: expect.stringMatching(/advanced or created again/),
    hint: expect.stringMatching(/tributary repair/),
  });
});

test('a slot that is gone is not silently created again', async () => {
  await using bench = await openBench();
  const url = await ranOnce(bench, 'gone');
  await postgres.run('gone', `select pg_drop_replication_slot('gone')`);
  expect(told(await refusal(bench, { url, slot: 'gone' }))).toEqual({
    kind: 'source-gap',
    message: expect.stringMatching(/slot "gone" is gone; the log is complete up to LSN/),
    hint: expect.stringMatching(/tributary repair/),
  });
});

test('another cluster is refused', async () => {
  await using bench = await openBench();
  await ranOnce(bench, 'clustered');
  await using other = await startTestPostgres();
  const url = await other.createDatabase('clustered');
  await other.run('clustered', setup);
  await other.run(
    'clustered',
    `select pg_create_logical_replication_slot('clustered', 'pgoutput')`,
  );
  expect(told(await refusal(bench, { url, slot: 'clustered' }))).toEqual({
    kind: 'source-gap',
    message: expect.stringMatching(
      /the log was written from cluster \d+, the source is cluster \d+/,
    ),
    hint: expect.stringMatching(/source\.url/),
  });
});

test('a publication that was dropped and created again is refused', async () => {
  await using bench = await openBench();
  const url = await ranOnce(bench, 'republished');
  await postgres.run(
    'republished',
    `drop publication tributary; create publication tributary for all tables`,
  );
  expect(told(await refusal(bench, { url, slot: 'republished' }))).toEqual({
    kind: 'source-gap',
    message: expect.stringMatching(/publication "tributary" was dropped and created again/),
    hint: expect.stringMatching(/tributary repair/),
  });
});

test('a publication that is dropped while streaming ends capture', async () => {
  await using bench = await openBench();
  const url = await postgres.createDatabase('unpublished');
  await postgres.run('unpublished', setup);
  await using capture = await bench.startRead(bench.options({ url, slot: 'unpublished' }));
  await postgres.run('unpublished', 'drop publication tributary');
  const error: unknown = await capture.ended.catch((reason: unknown) => reason);
  expect(told(error)).toEqual({
    kind: 'source-gap',
    message: expect.stringMatching(/publication "tributary" was dropped/),
    hint: expect.stringMatching(/create it again/),
  });
});

test('an empty log beside a slot that exists is a first start: everything is read', async () => {
  await using bench = await openBench();
  const url = await ranOnce(bench, 'forgotten');
  await using other = await openBench();
  expect(await readProgress(other.log, prefix)).toBeNull();
  await postgres.run('forgotten', `insert into item values (2, 'b')`);
  await using capture = await other.startRead(other.options({ url, slot: 'forgotten' }));
  await other.caughtUp(postgres, capture);
  const ids = (await other.records('public.item')).map(({ after }) => after?.['id']);
  expect(new Set(ids)).toEqual(new Set([1, 2]));
  await capture.stop();
});

test('a slot of another plugin or database is refused', async () => {
  await using bench = await openBench();
  const url = await postgres.createDatabase('elsewhere');
  await postgres.run('elsewhere', setup);
  await postgres.run(
    'postgres',
    `select pg_create_logical_replication_slot('elsewhere', 'pgoutput')`,
  );
  expect(told(await refusal(bench, { url, slot: 'elsewhere' }))).toEqual({
    kind: 'source-unfit',
    message: expect.stringMatching(
      /slot "elsewhere" belongs to database "postgres", not to "elsewhere"/,
    ),
    hint: expect.stringMatching(/source\.slot/),
  });
});

test('a slot that another process reads is waited for, then named', async () => {
  await using bench = await openBench();
  const url = await postgres.createDatabase('taken');
  await postgres.run('taken', setup);
  await using first = await bench.startRead(bench.options({ url, slot: 'taken' }));
  await using other = await openBench();
  const options = other.options({ url, slot: 'taken' });
  await using second = other.start({ ...options, limits: { ...options.limits, slotWaitMs: 300 } });
  const error: unknown = await second.ended.catch((reason: unknown) => reason);
  expect(told(error)).toEqual({
    kind: 'slot-in-use',
    message: expect.stringMatching(/slot "taken" is read by process \d+ of the server/),
    hint: expect.stringMatching(/pg_terminate_backend\(\d+\)/),
  });
  await using third = other.start(options);
  await first.stop();
  await eventually('the slot to be taken over', () =>
    other.events.some((event) => event.type === 'streaming'),
  );
  await third.stop();
});

test('a missing publication is named with the SQL that makes it', async () => {
  await using bench = await openBench();
  const url = await postgres.createDatabase('nopub');
  expect(told(await refusal(bench, { url, slot: 'nopub' }))).toEqual({
    kind: 'source-unfit',
    message: expect.stringMatching(/publication "tributary" does not exist/),
    hint: expect.stringMatching(/create publication tributary/),
  });
});

test('a wrong password is refused without showing it', async () => {
  await using bench = await openBench();
  const url = new URL(postgres.url('postgres'));
  url.password = 'canary-password';
  const error = await refusal(bench, { url: String(url), slot: 'denied' });
  expect(told(error)).toEqual({
    kind: 'source-denied',
    message: expect.stringMatching(/password authentication failed for user "postgres"/),
    hint: expect.stringMatching(/source\.url/),
  });
  expect(`${error.stack} ${JSON.stringify(error)}`).not.toContain('canary-password');
});

test('a role without REPLICATION is refused', async () => {
  await using bench = await openBench();
  await postgres.createDatabase('weak');
  await postgres.run('weak', `${setup}; create role weak login password 'weak'`);
  const url = new URL(postgres.url('weak'));
  url.username = 'weak';
  url.password = 'weak';
  expect(told(await refusal(bench, { url: String(url), slot: 'weak' }))).toEqual({
    kind: 'source-denied',
    message: expect.stringMatching(/to start WAL ?sender/i),
    hint: expect.stringMatching(/replication/i),
  });
});

test('an unreachable host is named', async () => {
  await using bench = await openBench();
  const url = 'postgres://someone:canary-password@127.0.0.1:1/none';
  const error = await refusal(bench, { url, slot: 'unreachable' });
  expect(told(error)).toEqual({
    kind: 'source-unreachable',
    message: expect.stringMatching(/cannot reach PostgreSQL: .*ECONNREFUSED 127\.0\.0\.1:1/),
    hint: expect.stringMatching(/PostgreSQL runs/),
  });
  expect(`${error.stack} ${JSON.stringify(error)}`).not.toContain('canary-password');
});

test('wal_level=replica is refused with what to set', async () => {
  await using bench = await openBench();
  await using server = await startTestPostgres({ wal_level: 'replica' });
  await server.run('postgres', setup);
  expect(told(await refusal(bench, { url: server.url('postgres'), slot: 'physical' }))).toEqual({
    kind: 'source-unfit',
    message: expect.stringMatching(/wal_level/),
    hint: expect.stringMatching(/alter system set wal_level = logical/),
  });
});

test('an open transaction that blocks the slot is named while waiting', async () => {
  await using bench = await openBench();
  const url = await postgres.createDatabase('blocked');
  await postgres.run('blocked', setup);
  const blocker = new pg.Client(url);
  await blocker.connect();
  await blocker.query(`begin; insert into item values (2, 'open')`);
  const { rows } = await blocker.query('select pg_backend_pid() as pid');
  await using capture = bench.start(bench.options({ url, slot: 'blocked' }));
  const line = await eventually('the report', () =>
    bench.lines.find((text) => text.includes('waits for an open transaction')),
  );
  expect(line).toMatch(new RegExp(`pid ${rows[0].pid}, user postgres, open for \\d+ s`));
  await blocker.query('commit');
  await blocker.end();
  await eventually('both rows', async () => (await bench.records('public.item')).length === 2);
  await capture.stop();
});

test('capture reconnects by itself after the server restarted its walsender', async () => {
  await using bench = await openBench();
  const url = await postgres.createDatabase('reconnect');
  await postgres.run('reconnect', setup);
  const options = bench.options({ url, slot: 'reconnect' });
  const limits = { ...options.limits, giveUpAfterMs: 20_000, reconnectDelayMs: 20 };
  await using capture = await bench.startRead({ ...options, limits });
  for (const id of [2, 3, 4]) {
    await postgres.run(
      'reconnect',
      `insert into item values (${id}, 'b'); select pg_terminate_backend(active_pid)
       from pg_replication_slots where slot_name = 'reconnect'`,
    );
    await bench.caughtUp(postgres, capture);
  }
  const records = await bench.records('public.item');
  expect(records.map(({ after }) => after?.['id'])).toEqual([1, 2, 3, 4]);
  await capture.stop();
});
