import pg from 'pg';
import { expect, test } from 'vitest';
import { businessTables } from '../../commands/demo/book.ts';
import { createBusiness } from '../../commands/demo/history.ts';
import { runTraffic } from '../../commands/demo/traffic.ts';
import { startTestPostgres } from '../support/postgres.ts';

test("the generator's book equals the database row for row, cascades and the migration included", async () => {
  await using server = await startTestPostgres();
  const client = new pg.Client({ connectionString: await server.createDatabase('business') });
  await client.connect();
  const business = await createBusiness(client, { seed: 11, nowMs: Date.now(), scale: 0.3 });
  await runTraffic({ client, business, seconds: 4, transactionsPerSecond: 200 });
  for (const table of businessTables) {
    // Columns that came with the migration read as their default in rows that are older.
    const defaults = table === 'service_commerce_order' ? { channel: 'web' } : {};
    const rows = business.book.rows(table).map((row) => ({ ...defaults, ...row }));
    const differing = await client.query(
      `with book as (select r::text as row from jsonb_populate_recordset(null::${table}, $1) r),
            source as (select t::text as row from ${table} t)
       (select 'only in the book' as side, row from (table book except all table source) b)
       union all
       (select 'only in the source', row from (table source except all table book) s)`,
      [JSON.stringify(rows)],
    );
    expect(differing.rows, table).toEqual([]);
  }
  await client.end();
});
