import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bigqueryLake } from '../../models/bigquery-lake.ts';
import { bigqueryRuns } from '../support/bigquery-runs.ts';
import { runQuery, textRows } from '../support/local-bigquery/rest.ts';
import type { TestBigQuery } from '../support/test-bigquery.ts';

const runs = await bigqueryRuns({ statements: 15, tablesPerStatement: 2 });
const [older, newer] = ['0001/0000000000000010/00000001/0', '0001/0000000000000020/00000001/0'];

/** What the schema history has of a table: its column `size` went to a second place, below a floor. */
const layout = JSON.stringify({
  from: newer,
  live: [{ name: 'size', physical: 'size__v2' }],
  columns: [
    { physical: 'size', missing: null },
    { physical: 'size__v2', missing: null },
  ],
  floor: newer,
});

for (const { name, isSkipped, start } of runs) {
  describe.skipIf(isSkipped)(`the catalog of a lake on ${name}`, () => {
    let server: TestBigQuery;
    const lake = () => bigqueryLake({ ...server, query: (sql) => textRows(server, sql) });

    beforeAll(async () => {
      server = await start();
      const d = server.dataset;
      const own = '_cdc_seq string, _cdc_op string';
      for (const sql of [
        `create table ${d}.orders__changes (id int64, size int64, size__v2 string, ${own}, _cdc_exact string)`,
        `insert into ${d}.orders__changes values
          (1, null, null, '${older}', 'c', '{"size__v2": "NaN", "odd name": "x"}'), (2, 1, null, '${newer}', 'u', null)`,
        `create table ${d}.crm__orders__changes (id int64, ${own}, _cdc_exact json)`,
        `insert into ${d}.crm__orders__changes values (1, '${older}', 'c', parse_json('{"id": "infinity"}'))`,
        `create table ${d}._tributary_schema_history
          (schema_name string, table_name string, from_seq string, layout string, recorded_at timestamp)`,
        `insert into ${d}._tributary_schema_history
          values ('public', 'orders', '${newer}', '${layout}', timestamp '2026-03-05 10:00:00.5')`,
        `create table ${d}._tributary_watermarks (cut string, committed_at timestamp)`,
      ]) {
        await runQuery(server, sql);
      }
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    test('says which tables there are, where their columns went, and which have exact texts', async () => {
      const { tables, watermarks } = await lake().read(['public.orders', 'crm.orders', 'crm.none']);
      const told = tables.map((table) => [
        table.stored.changes,
        table.columns.map((one) => [one.name, one.places.map((place) => place.name), one.hasExact]),
        table.floors,
      ]);
      expect(told).toEqual([
        [
          'orders__changes',
          [
            ['id', ['id'], false],
            ['size', ['size__v2', 'size'], true],
          ],
          [{ seq: newer, notedAt: '2026-03-05 10:00:00.500000' }],
        ],
        ['crm__orders__changes', [['id', ['id'], true]], []],
      ]);
      expect(watermarks?.columns).toEqual({ cut: 'text', committed_at: 'timestamptz' });
    });

    test('counts the rows of tables, not of views', async () => {
      const { dataset } = server;
      await runQuery(
        server,
        `create view ${dataset}.orders as select * from ${dataset}.orders__changes`,
      );
      const counts = await lake().readRowCounts([dataset]);
      expect(counts.get(`${dataset}.orders__changes`)).toBe(2);
      expect(counts.has(`${dataset}.orders`)).toBe(false);
    });
  });
}
