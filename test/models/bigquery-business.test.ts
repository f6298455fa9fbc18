import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBusiness } from '../../commands/demo/history.ts';
import {
  currentCut,
  initialise,
  startPipeline,
  untilSnapshotIsDone,
} from '../../commands/demo/pipeline.ts';
import { runTraffic } from '../../commands/demo/traffic.ts';
import { demoLake } from '../../commands/demo/folder.ts';
import { configuredLake } from '../../commands/lakes/open-lake.ts';
import { bigqueryLake } from '../../models/bigquery-lake.ts';
import { buildModels, requireGood } from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import type { ModelsLake } from '../../models/lake.ts';
import { bigqueryRuns } from '../support/bigquery-runs.ts';
import { textRows } from '../support/local-bigquery/rest.ts';
import { startTestPostgres } from '../support/postgres.ts';
import type { TestBigQuery } from '../support/test-bigquery.ts';
import { copyLake } from './copy-lake.ts';
import { bigqueryRows, duckdbRows, firstDifference, readColumns } from './engine-rows.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');
const seed = 20_260_302;
const runs = await bigqueryRuns({ statements: 900, tablesPerStatement: 3 });

/** The demo's business with some traffic, through PostgreSQL, capture and a DuckDB lake; gives a copy of it. */
async function runBusiness(dir: string): Promise<{ file: string; mapping: Mapping }> {
  await using resources = new AsyncDisposableStack();
  const server = resources.use(await startTestPostgres());
  const url = await server.createDatabase('business');
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  resources.defer(() => client.end());
  const business = await createBusiness(client, { seed, nowMs: Date.now(), scale: 0.1 });
  const { plan, config } = await initialise(dir, url);
  const logFile = path.join(dir, 'tributary.log');
  const pipeline = startPipeline({ config, url, logFile, withModels: false });
  resources.defer(() => pipeline.stop());
  await untilSnapshotIsDone(config);
  await runTraffic({ client, business, seconds: 2, transactionsPerSecond: 100 });
  const settings = demoLake(config);
  const until = await currentCut(client, config);
  const file = path.join(dir, 'copy.duckdb');
  await configuredLake('lake', config).borrow({ purpose: 'test', until }, () =>
    copyFile(settings.path, file),
  );
  return { file, mapping: plan.mapping };
}

type Mapping = Awaited<ReturnType<typeof initialise>>['plan']['mapping'];

for (const { name, isSkipped, start } of runs) {
  describe.skipIf(isSkipped)(`a business on ${name}`, () => {
    let dir: string;
    let server: TestBigQuery;
    let file: string;

    beforeAll(async () => {
      dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-models-'));
      const business = await runBusiness(dir);
      file = business.file;
      server = await start();
      const { dataset } = server;
      await copyLake(file, { server, dataset });
      const build = async (lake: ModelsLake, schema: string) => {
        const workDir = path.join(dir, lake.engine);
        const { mapping } = business;
        requireGood(await buildModels({ projectRoot, lake, mapping, workDir, schema }));
      };
      const query = (sql: string) => textRows(server, sql);
      await build(bigqueryLake({ ...server, query }), `${dataset}_models`);
      await build(duckdbLake(file), 'analytics');
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    });

    test("every mart equals DuckDB's, cell by cell", async () => {
      const target = { server, dataset: `${server.dataset}_models` };
      const marts = await readColumns(target);
      expect(marts.size).toBe(9);
      for (const [table, columns] of marts) {
        const rows = await bigqueryRows(target, table, columns);
        const expected = await duckdbRows(file, `analytics.${table}`, columns);
        expect(firstDifference(rows, expected), table).toBeNull();
        expect(rows.length, table).toBeGreaterThan(0);
      }
    });
  });
}
