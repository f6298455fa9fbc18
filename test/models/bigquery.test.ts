import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bigqueryLake } from '../../models/bigquery-lake.ts';
import { type BuildReport, buildModels, requireGood } from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import type { ModelsLake } from '../../models/lake.ts';
import { lacksLocalBigQuery } from '../support/local-bigquery/environment.ts';
import {
  type LocalBigQuery,
  startLocalBigQuery,
} from '../support/local-bigquery/local-bigquery.ts';
import { textRows } from '../support/local-bigquery/rest.ts';
import { copyLake } from './copy-lake.ts';
import { bigqueryRows, duckdbRows, firstDifference, readColumns } from './engine-rows.ts';
import { type PlainChange, writeLake } from './lake-history.ts';
import { randomHistory } from './random-history.ts';
import { sampleMapping, sampleTables } from './sample.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');
const lacking = await lacksLocalBigQuery();
const dayMs = 86_400_000;

// One history on both engines: on DuckDB built once, on BigQuery in two steps, so that its incremental
// models have rows from both.
describe.skipIf(lacking !== null)(
  `models on BigQuery${lacking === null ? '' : ` (${lacking})`}`,
  () => {
    const { history, startAt } = randomHistory(11);
    const { changes } = history;
    let dir: string;
    let server: LocalBigQuery;
    let report: BuildReport;
    const file = (name: string) => path.join(dir, `${name}.duckdb`);

    const write = (name: string, own: readonly PlainChange[]) =>
      writeLake(file(name), {
        tables: sampleTables,
        changes: own,
        watermarkAt: own.at(-1)!.committedAt!,
      });
    const build = (lake: ModelsLake, options: { readonly skipTests?: boolean } = {}) =>
      buildModels({
        projectRoot,
        lake,
        mapping: sampleMapping,
        workDir: path.join(dir, lake.engine),
        vars: { feature_days_max: 90 },
        ...options,
      });

    beforeAll(async () => {
      dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-models-'));
      server = await startLocalBigQuery();
      const { project, dataset, url: endpoint } = server;
      const query = (sql: string) => textRows(server, sql);
      const lake = bigqueryLake({ project, dataset, location: 'US', endpoint, query });
      const cut = startAt + 6 * dayMs;
      const later = changes.findIndex((change) => (change.committedAt?.getTime() ?? 0) > cut);
      await write('early', changes.slice(0, later));
      await copyLake(file('early'), { server, dataset });
      requireGood(await build(lake, { skipTests: true }));
      await write('late', changes.slice(later));
      await copyLake(file('late'), { server, dataset });
      report = await build(lake);
      await write('whole', changes);
      requireGood(await build(duckdbLake(file('whole'))));
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    });

    test('every model and test is good, and tables tell their rows', () => {
      requireGood(report);
      expect(report.isGood).toBe(true);
      expect(report.models.find((model) => model.name === 'dim_masters')?.rows).toBe(16);
      expect(report.tests.length).toBeGreaterThan(40);
      expect(report.missingTables).toEqual([]);
    });

    test.each([
      ['analytics', 'bridge_event_masters', 300],
      ['analytics', 'dim_lineage_nodes', 300],
      ['analytics', 'dim_masters', 16],
      ['analytics', 'dim_masters_history', 16],
      ['analytics', 'fct_entity_changes', 50],
      ['analytics', 'fct_events', 200],
      ['analytics', 'fct_lineage_edges', 300],
      ['analytics', 'fct_master_timeline', 500],
      ['analytics', 'feat_master_activity_daily', 200],
      ['analytics_intermediate', 'int_activity__day_tiles', 300],
      ['analytics_intermediate', 'int_event_masters__resolved', 300],
      ['analytics_intermediate', 'int_events__parsed', 300],
      ['analytics_intermediate', 'int_lookups__mastered', 30],
      ['analytics_intermediate', 'int_row_changes__owned', 50],
      ['analytics_staging', 'stg_tributary__references', 100],
      ['analytics_staging', 'stg_nexus__event', 200],
    ])("%s.%s equals DuckDB's, cell by cell", async (schema, table, rowsMin) => {
      const target = { server, dataset: schema };
      const columns = (await readColumns(target)).get(table)!;
      const rows = await bigqueryRows(target, table, columns);
      expect(rows.length).toBeGreaterThanOrEqual(rowsMin);
      const expected = await duckdbRows(file('whole'), `${schema}.${table}`, columns);
      expect(firstDifference(rows, expected)).toBeNull();
    });
  },
);
