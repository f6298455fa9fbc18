import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { fieldTag, fieldTypes, ProtoWriter } from '../../sinks/bigquery/proto-writer.ts';
import { openWriteStreams } from '../../sinks/bigquery/write-streams.ts';
import { lacksLocalBigQuery } from '../support/local-bigquery/environment.ts';
import {
  type LocalBigQuery,
  startLocalBigQuery,
} from '../support/local-bigquery/local-bigquery.ts';
import { loadRows, post, runQuery } from '../support/local-bigquery/rest.ts';

// The second opinion on our BigQuery SQL is only worth something where the emulator does what the
// service does. These are the repairs of its launcher, what the sink rests on, and the gaps for which
// tests are skipped: where one of those fails, the emulator has learned it, and the skip can go.

const lacking = await lacksLocalBigQuery();

describe.skipIf(lacking !== null)(
  `local-bigquery${lacking === null ? '' : ` (${lacking})`}`,
  () => {
    let server: LocalBigQuery;
    const run = (sql: string) => runQuery(server, sql);
    beforeAll(async () => {
      server = await startLocalBigQuery();
      await run(/* sql */ `create table lake.state (id int64, value string, seq string)`);
      await run(/* sql */ `insert into lake.state values (1, 'a', '1'), (2, 'b', '1')`);
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    const merge = (value: string, last: string) => /* sql */ `
    begin transaction;
    if (select count(*) from lake.state where id = 1) = 1 then
      insert into lake.state values (3, 'c', '2');
      merge lake.state t
      using (select 1 as id, '${value}' as value, '2' as seq union all select 4, 'd', '2') s
      on t.id = s.id
      when matched then update set value = s.value, seq = s.seq
      when not matched then insert (id, value, seq) values (s.id, s.value, s.seq);
    end if;
    ${last} transaction;`;

    test('a merge joins the transaction around it, which commits or rolls back as one', async () => {
      await run(merge('lost', 'rollback'));
      expect(await run('select id, value from lake.state order by id')).toEqual([
        ['1', 'a'],
        ['2', 'b'],
      ]);
      await run(merge('kept', 'commit'));
      expect(await run('select id, value from lake.state order by id')).toEqual([
        ['1', 'kept'],
        ['2', 'b'],
        ['3', 'c'],
        ['4', 'd'],
      ]);
    });

    test('a statement that fails inside a transaction undoes it', async () => {
      const script = /* sql */ `
      begin transaction;
      update lake.state set value = 'lost' where id = 2;
      select cast('x' as int64);
      commit transaction;`;
      await expect(run(script)).rejects.toThrow(/x/);
      expect(await run('select value from lake.state where id = 2')).toEqual([['b']]);
      await run(merge('again', 'commit'));
      expect(await run('select value from lake.state where id = 1')).toEqual([['again']]);
    });

    test('a job that creates a table from a query names it as its destination', async () => {
      const query = 'create or replace table lake.made as select 1 as one';
      const job = { configuration: { query: { query, useLegacySql: false } } };
      expect(await post(server, 'jobs', job)).toMatchObject({
        configuration: { query: { destinationTable: { datasetId: 'lake', tableId: 'made' } } },
      });
    });

    test('it ends when the process that started it is killed', async () => {
      const module = new URL('../support/local-bigquery/local-bigquery.ts', import.meta.url);
      const script = `
        const { startLocalBigQuery } = await import(${JSON.stringify(module.href)});
        console.log((await startLocalBigQuery()).url);`;
      // What it cannot remove any more is in a folder of the test's.
      const folder = await mkdtemp(path.join(os.tmpdir(), 'tributary-starter-'));
      const env = { ...process.env, TMPDIR: folder };
      const starter = spawn(process.execPath, ['--input-type=module', '--eval', script], { env });
      const [url] = (await once(starter.stdout, 'data')) as [Buffer];
      const ask = () =>
        fetch(url.toString().trim()).then(
          () => 'there',
          () => 'gone',
        );
      expect(await ask()).toBe('there');
      starter.kill('SIGKILL');
      await vi.waitUntil(async () => (await ask()) === 'gone', { timeout: 20_000 });
      await rm(folder, { recursive: true, force: true });
    });

    describe('gaps', () => {
      test('BIGNUMERIC has 20 digits before the point', async () => {
        const cast = (digits: number) => run(`select cast('${'9'.repeat(digits)}' as bignumeric)`);
        expect(await cast(20)).toEqual([['9'.repeat(20)]]);
        await expect(cast(21)).rejects.toThrow(/DECIMAL/);
      });

      test('a list that a row lacks is NULL and not empty', async () => {
        await run('create table lake.lists (id int64, list array<string>)');
        await loadRows(server, { dataset: 'lake', name: 'lists' }, [{ id: 1 }]);
        expect(await run('select to_json_string(list) from lake.lists')).toEqual([['null']]);
      });

      test('DATETIME and TIME are not taken as packed integers over gRPC', async () => {
        await run('create table lake.civil (id int64, clock time, moment datetime)');
        await append(server, 'civil', { rows: [{ id: 1n }] });
        const second = 1n << 20n;
        const clock = append(server, 'civil', { rows: [{ clock: second }] });
        await expect(clock).rejects.toMatchObject({ kind: 'sink-refused' });
        const newYear = (2026n << 46n) | (1n << 42n) | (1n << 37n);
        const moment = append(server, 'civil', { rows: [{ moment: newYear }] });
        await expect(moment).rejects.toMatchObject({ kind: 'sink-refused' });
      });

      test('an append to a finalized stream is not refused with STREAM_FINALIZED', async () => {
        await run('create table lake.ended (id int64)');
        const ended = append(server, 'ended', { rows: [{ id: 1n }, { id: 2n }], finalize: true });
        const refusal = { kind: 'sink-refused', context: { bigquery: 'invalid' } };
        await expect(ended).rejects.toMatchObject(refusal);
      });

      test('rows by key are refused: there is no column _CHANGE_TYPE', async () => {
        await run('create table lake.keyed (id int64, primary key (id) not enforced)');
        const isDefault = true;
        await append(server, 'keyed', { isDefault, rows: [{ id: 1n }] });
        const keyed = append(server, 'keyed', {
          isDefault,
          rows: [{ id: 1n, _CHANGE_TYPE: 'UPSERT' }],
        });
        await expect(keyed).rejects.toMatchObject({ kind: 'sink-refused' });
      });
    });
  },
);

interface Appended {
  readonly rows: readonly Readonly<Record<string, bigint | string>>[];
  /** To the table's default stream. */
  readonly isDefault?: boolean;
  /** Before the last row. */
  readonly finalize?: boolean;
}

/** Appends the rows one by one. */
async function append(server: LocalBigQuery, table: string, given: Appended): Promise<void> {
  const { rows, isDefault = false, finalize = false } = given;
  const writes = openWriteStreams({ ...server, storageEndpoint: server.grpcAddress });
  try {
    const stream = isDefault ? table : await writes.create(table);
    for (const [index, row] of rows.entries()) {
      if (finalize && index === rows.length - 1) await writes.finalize(stream);
      const offset = isDefault ? null : BigInt(index);
      await writes.append({ stream, offset, ...encoded(row) });
    }
  } finally {
    await writes.close();
  }
}

function encoded(row: Readonly<Record<string, bigint | string>>) {
  const writer = new ProtoWriter();
  const field = Object.entries(row).map(([name, value], index) => {
    const number = index + 1;
    if (typeof value === 'string') writer.text(fieldTag(number, 'string'), value);
    else writer.int64(fieldTag(number, 'int64'), value);
    const type = typeof value === 'string' ? fieldTypes.string : fieldTypes.int64;
    return { name, number, label: 1 as const, type };
  });
  return { descriptor: { name: 'Row', field }, rows: [writer.finish()] };
}
