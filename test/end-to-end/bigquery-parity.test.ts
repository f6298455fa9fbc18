import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBusiness } from '../../commands/demo/history.ts';
import { runTraffic } from '../../commands/demo/traffic.ts';
import { openSourceSnapshot } from '../../commands/verify/source-snapshot.ts';
import type { RowImage } from '../../schemas/change.ts';
import { canonicalValue } from '../../schemas/pg-text.ts';
import { tableName, type TableSchema } from '../../schemas/table-schema.ts';
import { openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import {
  type BigqueryInstallation,
  createBigqueryInstallation,
} from '../support/bigquery-installation.ts';
import { bigqueryRuns } from '../support/bigquery-runs.ts';
import { testServerOf } from '../support/fake-bigquery-harness.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';
import type { TestBigQuery } from '../support/test-bigquery.ts';

/*
 * The demo's business and traffic, loaded from one log into both engines: what the one lake holds, the
 * other holds, cell for cell.
 */

const seed = 20_261_126;
/** Of the lake's own columns those that are not a moment of loading. */
const stateOwn = ['_cdc_seq', '_cdc_schema_id'];
const changesOwn = [
  ...stateOwn,
  '_cdc_op',
  '_cdc_lsn',
  '_cdc_xid',
  '_cdc_topic',
  '_cdc_partition',
  '_cdc_offset',
];

const runs = [
  { name: 'our own', isSkipped: false, start: startFake },
  ...(await bigqueryRuns({ statements: 2_000, tablesPerStatement: 3 })),
];

async function startFake(): Promise<TestBigQuery> {
  const fake = await FakeBigQuery.start();
  return { ...testServerOf(fake), [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose]() };
}

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres[Symbol.asyncDispose]());

for (const [index, { name, isSkipped, start }] of runs.entries()) {
  test.skipIf(isSkipped)(
    `the lake in BigQuery equals DuckDB's, cell for cell: ${name}`,
    { timeout: 900_000 },
    async () => {
      await using server = await start();
      await using installation = await createBigqueryInstallation(server, postgres, {
        database: `parity_${index}`,
        sql: 'select',
      });
      const { shop } = installation;
      await using client = await connected(shop.url);
      const business = await createBusiness(client.value, { seed, nowMs: Date.now(), scale: 0.1 });
      await shop.sql('create publication tributary for all tables');
      await shop.running(async (running) => {
        await running.waitFor(/every table is read/);
        await runTraffic({ client: client.value, business, seconds: 4, transactionsPerSecond: 50 });
        for (const sink of ['lake', 'warehouse']) {
          const verified = await verify(installation, sink);
          expect(verified.exit, verified.stdout + verified.stderr).toBe(0);
        }
      });
      const tables = await tablesOf(shop.url);
      expect(tables.length).toBeGreaterThanOrEqual(14);
      for (const table of tables) {
        const { duckdb, bigquery } = await bothLakes(installation, table);
        expect(bigquery.state, tableName(table)).toEqual(duckdb.state);
        expect(bigquery.changes, tableName(table)).toEqual(duckdb.changes);
      }
    },
  );
}

const attemptsMax = 4;

/** A verify waits two minutes for its sink; an emulator on a loaded machine may need more for the first batch. */
async function verify({ shop }: BigqueryInstallation, sink: string) {
  for (let attempt = 1; ; attempt += 1) {
    const verified = await shop.command(['verify', '--sink', sink, '--values']);
    const wasLate = /did not reach|were given up/.test(verified.stderr);
    if (!wasLate || attempt === attemptsMax) return verified;
  }
}

async function connected(url: string) {
  const value = new pg.Client({ connectionString: url });
  await value.connect();
  return { value, [Symbol.asyncDispose]: () => value.end() };
}

async function tablesOf(url: string): Promise<readonly TableSchema[]> {
  await using snapshot = await openSourceSnapshot({
    url,
    publication: 'tributary',
    wants: () => true,
  });
  return snapshot.tables.map(({ table }) => table);
}

async function bothLakes({ shop, warehouse }: BigqueryInstallation, table: TableSchema) {
  const { columns } = table;
  await using lake = await openLakeReader(shop.lakePath);
  const [duckdb, bigquery] = await Promise.all(
    [lake, warehouse].map(async (reader) => ({
      state: await lines(table, reader.readRows(table, columns, stateOwn)),
      changes: await lines(table, reader.readChanges(table, columns, changesOwn)),
    })),
  );
  return { duckdb: duckdb!, bigquery: bigquery! };
}

type Rows = AsyncIterable<readonly [own: readonly unknown[], image: RowImage]>;

/** Whole numbers are a BigInt in the one, text in the other. */
function textOf(value: unknown): unknown {
  return typeof value === 'bigint' || typeof value === 'number' ? value.toString() : value;
}

/** A line a row, in an order of their own. */
async function lines({ columns }: TableSchema, rows: Rows): Promise<readonly string[]> {
  const all: string[] = [];
  for await (const [own, image] of rows) {
    const values = columns.map(({ type }, index) => canonicalValue(type, image[index] ?? null));
    all.push(JSON.stringify([own.map(textOf), values]));
  }
  return all.toSorted();
}
