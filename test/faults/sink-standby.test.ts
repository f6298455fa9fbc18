import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DuckdbProcess } from '../support/duckdb-process.ts';
import { Installation } from '../support/installation.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { type RunningCommand, startCommandLine } from '../support/spawn.ts';

/** From the death of the process that loads to the first batch of the next. */
const takeoverMsMax = 15_000;
const pauseMs = 20;

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

const sql = /* sql */ `
  create table item (id bigserial primary key, n int not null);
  create table mirror (id bigint primary key, n int not null);
  insert into item (n) select i from generate_series(1, 500) i;
  create publication tributary for all tables;`;

/** Every transaction touches both tables alike, until the signal. */
async function write(shop: Installation, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await shop.sql(/* sql */ `
      with new as (insert into item (n) values (1) returning id, n)
      insert into mirror select id, n from new;
      update item set n = n + 1 where id % 50 = (select max(id) from mirror) % 50;`);
    await sleep(pauseMs);
  }
}

function start(shop: Installation, ...words: readonly string[]): RunningCommand {
  const env = { DATABASE_URL: shop.url };
  return startCommandLine([...words, '--config', shop.configFile], { cwd: shop.dir, env });
}

const loads = /goes on after position/;
const standsBy = ({ pid }: RunningCommand) => new RegExp(`stands by for process ${pid} on`);

/** Runs `fault`; gives how long until `next` has the lake. */
async function takeoverMs(next: RunningCommand, fault: () => unknown): Promise<number> {
  expect(next.output()).not.toMatch(loads);
  const startedMs = performance.now();
  await fault();
  await next.waitFor(loads);
  return performance.now() - startedMs;
}

async function workersOf(shop: Installation) {
  const { stdout } = await shop.command(['status', '--json']);
  const status = JSON.parse(stdout) as {
    workers: { lake: { pid: number; state: string }[] };
    sinks: { lake: { behindBytes: number; behindMs: number | null } };
  };
  return { ...status, states: status.workers.lake.map(({ pid, state }) => `${pid} ${state}`) };
}

test('a standby takes over from a killed, then from a frozen sink within 15 s, and loses and doubles nothing', async () => {
  await using shop = await Installation.create(server, 'standby', sql);
  const enough = new AbortController();
  const writing = write(shop, enough.signal);
  await using capture = start(shop, 'capture');
  await capture.waitFor(/every table is read/);
  await using first = start(shop, 'sink', 'lake');
  await first.waitFor(loads);
  await using second = start(shop, 'sink', 'lake');
  await second.waitFor(standsBy(first));
  const before = await workersOf(shop);
  expect(before.states.toSorted()).toEqual(
    [`${first.pid} loading`, `${second.pid} standby`].toSorted(),
  );
  expect(before.sinks.lake.behindMs).toBeGreaterThanOrEqual(0);

  const killedMs = await takeoverMs(second, () => first.stop('SIGKILL'));
  expect(killedMs).toBeLessThan(takeoverMsMax);

  await using third = start(shop, 'sink', 'lake');
  await third.waitFor(standsBy(second));
  const frozenMs = await takeoverMs(third, () => process.kill(second.pid, 'SIGSTOP'));
  expect(frozenMs).toBeLessThan(takeoverMsMax);
  // DuckDB's lock leaves with its process only.
  await second.ended;
  expect(third.output()).toContain(`ended the silent process ${second.pid}`);

  enough.abort();
  await writing;
  const tables = await shop.verify();
  expect(tables.map(({ table }) => table)).toEqual(['public.item', 'public.mirror']);
  expect((await workersOf(shop)).states).toEqual([`${third.pid} loading`]);
  expect(await third.stop()).toBe(0);
  expect(await shop.doubledChanges()).toEqual([]);
  expect(await capture.stop()).toBe(0);
});

test('a sink that froze while its lake was lent changes nothing when it wakes up, and stands by', async () => {
  await using shop = await Installation.create(server, 'zombie', sql);
  const enough = new AbortController();
  const writing = write(shop, enough.signal);
  await using capture = start(shop, 'capture');
  await capture.waitFor(/every table is read/);
  await using zombie = start(shop, 'sink', 'lake');
  await zombie.waitFor(loads);
  await using next = start(shop, 'sink', 'lake');
  await next.waitFor(standsBy(zombie));
  await using borrower = new DuckdbProcess('borrow', shop.lakePath);
  await borrower.line(/^borrowed/);
  process.kill(zombie.pid, 'SIGSTOP');
  borrower.tell('enough');
  await borrower.line(/^given back$/);
  await next.waitFor(loads);
  process.kill(zombie.pid, 'SIGCONT');
  await zombie.waitFor(standsBy(next));
  enough.abort();
  await writing;
  await shop.verify();
  expect((await workersOf(shop)).states.toSorted()).toEqual(
    [`${next.pid} loading`, `${zombie.pid} standby`].toSorted(),
  );
  // And it is a standby like any other.
  expect(await next.stop()).toBe(0);
  await zombie.waitFor(/(goes on after position[^]*){2}/);
  await shop.verify();
  expect(await zombie.stop()).toBe(0);
  expect(await shop.doubledChanges()).toEqual([]);
  expect(await capture.stop()).toBe(0);
});
