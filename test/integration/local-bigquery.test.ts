import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lacksLocalBigQuery } from '../support/local-bigquery/environment.ts';
import {
  type LocalBigQuery,
  startLocalBigQuery,
} from '../support/local-bigquery/local-bigquery.ts';
import { post, runQuery } from '../support/local-bigquery/rest.ts';

// The second opinion on our BigQuery SQL is only worth something where the emulator does what the
// service does. These are the two repairs of its launcher, and what the sink rests on.

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
  },
);
