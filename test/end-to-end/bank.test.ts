import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import pg from 'pg';
import { borrowLake } from '../../sinks/duckdb/lease.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { Installation } from '../support/installation.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

const accounts = 100;
const balance = 1_000;
const connections = 4;
/** Between two transfers of a connection: the machine also has a pipeline to run. */
const pauseMs = 5;
const looksWanted = 15;
const lookMsMax = 60_000;

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

/** Accounts in two tables, so that a transfer is one transaction over both. */
const bankSql = /* sql */ `
  create table checking (id int primary key, amount bigint not null);
  create table saving (id int primary key, amount bigint not null);
  insert into checking select i, ${balance} from generate_series(1, ${accounts}) i;
  insert into saving select i, ${balance} from generate_series(1, ${accounts}) i;
  create publication tributary for all tables;`;
const total = BigInt(2 * accounts * balance);

/** Moves money between two accounts, over and over; every tenth time nothing comes of it. */
async function transfer(url: string, signal: AbortSignal): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const any = (count: number) => 1 + Math.floor(Math.random() * count);
  let transfers = 0;
  while (!signal.aborted) {
    const [from, to] = Math.random() < 0.5 ? ['checking', 'saving'] : ['saving', 'checking'];
    const amount = any(50);
    // Lower ids first, and one table before the other, would still meet: a deadlock is tried anew.
    await client
      .query(
        `begin;
         update ${from} set amount = amount - ${amount} where id = ${any(accounts)};
         update ${to} set amount = amount + ${amount} where id = ${any(accounts)};
         ${transfers % 10 === 9 ? 'rollback' : 'commit'};`,
      )
      .catch(() => client.query('rollback'));
    transfers += 1;
    await sleep(pauseMs);
  }
  await client.end();
  return transfers;
}

interface Look {
  readonly applied: string;
  readonly total: bigint;
  readonly rows: number;
}

/** What a reader of the lake sees, once there is something to see. */
async function look(installation: Installation): Promise<Look | null> {
  const { lakePath } = installation;
  return borrowLake(lakePath, { purpose: 'test', waitMs: lookMsMax }, async (grant) => {
    await using lake = await openLakeReader(lakePath);
    const views = await lake.rows(
      `select view_name from duckdb_views() where view_name in ('checking', 'saving') and not internal`,
    );
    if (views.length < 2) return null;
    const [row] = await lake.rows(
      `select sum(amount)::varchar as total, count(*)::integer as rows from
         (select amount from public.checking union all select amount from public.saving)`,
    );
    return {
      applied: grant?.applied ?? '',
      total: BigInt(String(row?.['total'] ?? 0)),
      rows: Number(row?.['rows']),
    };
  });
}

test('whoever reads the lake, at whatever moment, finds all the money', async () => {
  await using bank = await Installation.create(server, 'bank', bankSql);
  const enough = new AbortController();
  const writers = Array.from({ length: connections }, () => transfer(bank.url, enough.signal));
  const looks: Look[] = [];
  await bank.running(async (running) => {
    try {
      await running.waitFor(/every table is read/);
      await vi.waitUntil(
        async () => {
          const seen = await look(bank);

          const isNew = seen !== null && seen.applied !== looks.at(-1)?.applied;
          if (isNew && seen.rows === 2 * accounts) looks.push(seen);
          return looks.length >= looksWanted;
        },
        { timeout: lookMsMax, interval: 50 },
      );
    } finally {
      enough.abort();
    }
    const transfers = (await Promise.all(writers)).reduce((sum, count) => sum + count, 0);
    expect(transfers).toBeGreaterThan(looksWanted);
    await bank.verify();
  });
  expect(looks.map((seen) => seen.total)).toEqual(looks.map(() => total));
  expect(new Set(looks.map(({ applied }) => applied)).size).toBe(looks.length);
  expect(await bank.doubledChanges()).toEqual([]);
});
