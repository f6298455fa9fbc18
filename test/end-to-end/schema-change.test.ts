import pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Installation } from '../support/installation.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

const itemsSql = /* sql */ `
  create type mood as enum ('sad', 'ok');
  create table items (id int primary key, size int, note text, old text, feeling mood, tags text[]);
  create table scratch (id int primary key, note text);
  insert into items select i, i, 'n' || i, 'o' || i, 'ok', array['a', null] from generate_series(1, 300) i;
  insert into scratch select i, 's' || i from generate_series(1, 50) i;
  create publication tributary for all tables;`;

/** Each step is followed by writes that use it, and by more steps in the same breath. */
const migrations = [
  // A constant default is not written into the rows that are there: no event tells of it.
  `alter table items add column rank int not null default 7`,
  `update items set rank = id where id % 2 = 0`,
  `alter table items rename column note to remark`,
  `update items set remark = remark || '!' where id % 3 = 0`,
  `alter table items drop column old`,
  `insert into items select i, i, 'later', 'ok', '{}', i from generate_series(301, 320) i`,
  `alter table items alter column size type bigint`,
  `update items set size = 5000000000 + id where id % 5 = 0`,
  `alter type mood add value 'happy' before 'ok'`,
  `update items set feeling = 'happy' where id % 7 = 0`,
  `truncate scratch`,
  `insert into scratch select i, 'again' from generate_series(40, 60) i`,
  `create table added (id uuid primary key default gen_random_uuid(), item int, at timestamptz default now())`,
  `insert into added (item) select i from generate_series(1, 30) i`,
  // All of it in one transaction, with changes between.
  `begin;
   update items set remark = 'before' where id = 1;
   alter table items add column extra jsonb default '{"a": 1}';
   update items set extra = '{"a": 2}' where id = 2;
   alter table items drop column tags;
   insert into items (id, size, remark, feeling) values (1000, 1, 'within', 'sad');
   commit`,
  // Rewrites every row, again without an event.
  `alter table items alter column remark type varchar(40) using upper(remark)`,
  `delete from items where id % 11 = 0`,
  `drop table scratch; create table scratch (id text primary key, count int)`,
  `insert into scratch values ('new', 1)`,
];

/** Updates and inserts without end, whatever the columns are by now. */
async function write(url: string, signal: AbortSignal): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  let writes = 0;
  while (!signal.aborted) {
    const id = 1 + Math.floor(Math.random() * 300);
    await client.query(
      `update items set feeling = 'sad' where id = ${id};
       insert into items (id, size) values (${10_000 + writes}, ${writes})`,
    );
    writes += 1;
    await sleep(10);
  }
  await client.end();
  return writes;
}

test('tables change in every way while they are written to: the lake follows, value for value', async () => {
  await using shop = await Installation.create(server, 'evolving', itemsSql);
  const enough = new AbortController();
  await shop.running(async (running) => {
    await running.waitFor(/every table is read/);
    const writer = write(shop.url, enough.signal);
    try {
      for (const [index, migration] of migrations.entries()) {
        await shop.sql(migration);
        if (index === 6) await shop.verify();
      }
      await running.waitFor(/public.added was added to publication/);
      await running.waitFor(/public.items was rewritten at the source: reading it again/);
      await shop.verify();
    } finally {
      enough.abort();
    }
    expect(await writer).toBeGreaterThan(0);
    const verified = await shop.verify();
    expect(verified.map(({ table }) => table).toSorted()).toEqual([
      'public.added',
      'public.items',
      'public.scratch',
    ]);
  });
  expect(await shop.doubledChanges()).toEqual([]);
});

test('a migration while the pipeline is down is met at the next start', async () => {
  await using shop = await Installation.create(server, 'migrated', itemsSql);
  await shop.runUntilEqual();
  for (const migration of migrations) await shop.sql(migration);
  await shop.runUntilEqual();
  expect(await shop.doubledChanges()).toEqual([]);
});
