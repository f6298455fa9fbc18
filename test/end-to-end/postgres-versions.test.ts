import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCommandLine } from '../support/command-line.ts';
import { Installation } from '../support/installation.ts';
import { runPgbench, pgbenchSql } from '../support/pgbench.ts';
import { embeddedMajor, startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import { lacksOlderPostgres } from '../support/postgres-versions/older-postgres.ts';

// All other tests run on one PostgreSQL: the newest, or the one that TRIBUTARY_TEST_POSTGRES names.

const sourceSql = /* sql */ `
  ${pgbenchSql(1, 500)}
  create type mood as enum ('sad', 'ok');
  create domain amount as numeric(20, 8);
  create table everything (
    id bigint primary key, small smallint, twice int generated always as (small * 2) stored, ratio double precision,
    price amount, free numeric, label varchar(20), code char(4), doc jsonb, raw json, blob bytea, at timestamptz,
    local timestamp, day date, clock time, span interval, who uuid, feeling mood, address inet, tags text[],
    grid int[], spans int4multirange, bits varbit, place point);
  insert into everything (id, small, ratio, price, free, label, code, doc, raw, blob, at, local, day, clock, span, who,
      feeling, address, tags, grid, spans, bits, place)
    select i, i, i / 7.0, i / 3.0, case when i % 50 = 0 then 'infinity' else i * 1.50 end, 'label ' || i, 'c' || i % 9,
      jsonb_build_object('n', i, 'text', (select string_agg(md5((i * j)::text), '') from generate_series(1, 150) j)),
      ('{"a" : 1,  "a":' || i || '}')::json, decode(md5(i::text), 'hex'), now() - i * interval '1 hour',
      'infinity', '0044-03-15 BC', '24:00', make_interval(months => i, secs => i), md5(i::text)::uuid, 'ok',
      '192.168.0.1/24', array['a', null, i::text], '{{1,2},{3,4}}', '{[1,3),[5,9)}', '101', point(i, -i)
    from generate_series(1, 300) i;
  create table computed (n int, twice int generated always as (n * 2) stored);
  insert into computed select i % 20 from generate_series(1, 100) i;
  create table reading (sensor int, at date, value real, primary key (sensor, at)) partition by range (at);
  create table reading_old partition of reading for values from (minvalue) to ('2026-01-01');
  create table reading_new partition of reading for values from ('2026-01-01') to (maxvalue);
  insert into reading select i % 10, date '2025-12-01' + i, i / 3.0 from generate_series(1, 60) i;
  create table scratch (id int primary key, note text);
  insert into scratch select i, 'note' from generate_series(1, 50) i`;

/** Every kind of change, and large transactions that are streamed before they end or are rolled back. */
const changesSql = (round: number) => /* sql */ `
  update everything set small = small + 1 where id % 3 = 0;
  update everything set doc = '{}' where id = ${round};
  update everything set id = id + 100000 where id between ${round * 10} and ${round * 10 + 5};
  delete from everything where id % 41 = ${round};
  begin;
    insert into scratch select i, repeat('x', 200) from generate_series(1001, 4000) i;
    savepoint part;
    insert into scratch select i, repeat('y', 200) from generate_series(5001, 8000) i;
    rollback to part;
    update scratch set note = 'kept' where id % 2 = 0;
  commit;
  begin; delete from everything; truncate scratch; rollback;
  update computed set n = n + 100 where n = ${round};
  delete from computed where n = ${round + 10};
  update reading set value = -value where sensor = ${round};
  update reading set at = at + 31 where sensor = 9;
  truncate scratch;
  insert into scratch values (1, 'after');
  alter table everything add column added${round} int not null default ${round};
  update everything set added${round} = id where id % 5 = 0;
  alter table scratch alter column note type varchar(300) using upper(note);
  insert into scratch select i, 'later' from generate_series(10, 30) i`;

const versions = [14, 15, 16, 17, embeddedMajor].map((major) => ({
  major,
  lacking: major === embeddedMajor ? null : lacksOlderPostgres(major),
}));

describe.each(versions)('PostgreSQL $major', ({ major, lacking }) => {
  let server: TestPostgres;
  beforeAll(async () => {
    if (lacking === null)
      server = await startTestPostgres({ logical_decoding_work_mem: '64kB' }, major);
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test.skipIf(lacking !== null)(
    `what init made ready is equal in the lake after every kind of change and kill -9, by a role that may no more than it needs${lacking === null ? '' : ` (${lacking})`}`,
    async () => {
      await using shop = await Installation.create(server, `version_${major}`, sourceSql);
      const version = await shop.sql('show server_version_num');
      expect(Math.floor(Number(version.rows[0].server_version_num) / 10_000)).toBe(major);
      const role = `streamer_${major}`;
      const files = path.join(shop.dir, 'files');
      const words = ['init', '--source', shop.url, '--role', role, '--dir', files, '--apply'];
      const init = await runCommandLine(words);
      expect(init).toMatchObject({ exit: 0, stderr: '' });
      expect(init.stdout).not.toContain('refused');
      await shop.sql(`alter role ${role} password 'long enough'`);
      const url = shop.url.replace(/\/\/[^@]+@/, `//${role}:long%20enough@`);
      const check = await shop.command(['check'], url);
      expect(check).toMatchObject({ exit: 0 });
      const enough = new AbortController();
      await using first = shop.start(url);
      await first.waitFor(/streaming from LSN/);
      const bench = runPgbench(shop.url, { scale: 1, accounts: 500, signal: enough.signal });
      await shop.sql(changesSql(1));
      await first.waitFor(/every table is read/);
      await shop.sql(changesSql(2));
      await shop.killAll();
      await shop.sql(changesSql(3));
      const tables = await shop.running(async (running) => {
        await running.waitFor(/streaming from LSN/);
        await shop.sql(changesSql(4));
        await shop.verify(url);
        enough.abort();
        expect(await bench).toBeGreaterThan(10);
        return await shop.verify(url);
      }, url);
      expect(tables.map(({ table }) => table).toSorted()).toEqual([
        'public.computed',
        'public.everything',
        'public.pgbench_accounts',
        'public.pgbench_branches',
        'public.pgbench_history',
        'public.pgbench_tellers',
        'public.reading',
        'public.scratch',
      ]);
      expect(tables.every(({ sourceRows, lakeRows }) => sourceRows === lakeRows)).toBe(true);
      expect(await shop.doubledChanges()).toEqual([]);
    },
  );

  test.skipIf(lacking !== null)('a role that may not replicate is told so', async () => {
    await using shop = await Installation.create(
      server,
      `denied_${major}`,
      `create table item (id int primary key); create publication tributary for all tables;
         create role weak${major} login password 'weak'; grant select on item to weak${major}`,
    );
    const url = new URL(shop.url);
    url.username = `weak${major}`;
    url.password = 'weak';
    const capture = await shop.command(['capture'], String(url));
    expect(capture.exit).not.toBe(0);
    expect(capture.stderr).toMatch(/alter role .* with replication/);
  });
});
