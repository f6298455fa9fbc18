import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bigqueryLake } from '../../models/bigquery-lake.ts';
import {
  type BuildModelsOptions,
  type BuildReport,
  buildModels,
  requireGood,
} from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import type { ModelsLake } from '../../models/lake.ts';
import { readJson } from '../../sinks/bigquery/json-document.ts';
import { bigqueryRuns } from '../support/bigquery-runs.ts';
import { textRows } from '../support/local-bigquery/rest.ts';
import { RequestRecorder } from '../support/request-recorder.ts';
import type { TestBigQuery } from '../support/test-bigquery.ts';
import { copyLake } from './copy-lake.ts';
import {
  bigqueryRows,
  type Columns,
  duckdbRows,
  firstDifference,
  readColumns,
} from './engine-rows.ts';
import { type PlainChange, writeLake } from './lake-history.ts';
import { randomHistory } from './random-history.ts';
import { sampleMapping, sampleTables } from './sample.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');
const runs = await bigqueryRuns({ statements: 500, tablesPerStatement: 3 });
const dayMs = 86_400_000;
const kmsKey = 'projects/p/locations/us/keyRings/r/cryptoKeys/k';

/** A row with its documents spelled in one way: a JSON column of BigQuery prints them without spaces. */
const documentsAlike = (row: string): string =>
  row.replaceAll(/\b(payload|metadata)=([[{].*?)(?= · |$)/g, (_, name: string, text: string) => {
    return `${name}=${readJson(text).canonical}`;
  });

// One history on both engines: on DuckDB built once, on BigQuery in two steps, so that its incremental
// models have rows from both. Documents are JSON here; they are STRING in the business of bigquery-business.test.ts.
for (const { name, isSkipped, isEmulator, start } of runs) {
  describe.skipIf(isSkipped)(`models on ${name}`, () => {
    const { history, startAt } = randomHistory(11);
    const { changes } = history;
    let dir: string;
    let server: TestBigQuery;
    let recorder: RequestRecorder;
    let report: BuildReport;
    const columnsOf = new Map<string, Columns>();
    const models = () => `${server.dataset}_models`;
    const file = (name: string) => path.join(dir, `${name}.duckdb`);

    const write = (name: string, own: readonly PlainChange[]) =>
      writeLake(file(name), {
        tables: sampleTables,
        changes: own,
        watermarkAt: own.at(-1)!.committedAt!,
      });
    const build = (
      lake: ModelsLake,
      options: Pick<BuildModelsOptions, 'schema' | 'skipTests'> = {},
    ) =>
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
      server = await start();
      const { dataset } = server;
      const query = (sql: string) => textRows(server, sql);
      recorder = await RequestRecorder.start(server.url);
      const watched = { endpoint: recorder.url, kmsKey, labels: { team: 'data' } };
      const lake = bigqueryLake({ ...server, query, ...(isEmulator ? watched : {}) });
      const cut = startAt + 6 * dayMs;
      const later = changes.findIndex((change) => (change.committedAt?.getTime() ?? 0) > cut);
      await write('early', changes.slice(0, later));
      await copyLake(file('early'), { server, dataset, hasJson: true });
      requireGood(await build(lake, { schema: models(), skipTests: true }));
      await write('late', changes.slice(later));
      await copyLake(file('late'), { server, dataset, hasJson: true });
      report = await build(lake, { schema: models() });
      for (const part of ['', '_intermediate', '_staging']) {
        columnsOf.set(part, await readColumns({ server, dataset: `${models()}${part}` }));
      }
      await write('whole', changes);
      requireGood(await build(duckdbLake(file('whole'))));
    });
    afterAll(async () => {
      await recorder?.[Symbol.asyncDispose]();
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

    test.runIf(isEmulator)('every job has the labels, the location and the node it is for', () => {
      const jobs = recorder.queryJobs;
      const nodes = new Set(jobs.map(({ configuration }) => configuration.labels?.['node_id']));
      expect(nodes).toContain('model_tributary_dim_masters');
      expect(nodes.size).toBeGreaterThan(60);
      for (const { configuration, jobReference } of jobs) {
        expect(configuration.labels).toMatchObject({ team: 'data', 'made-by': 'tributary' });
        expect(jobReference?.location).toBe(server.location);
      }
    });

    test.runIf(isEmulator)('every table has the key; no view has it', () => {
      const made = recorder.queryJobs.flatMap(({ configuration: { query } }) => {
        const statement = query?.query ?? '';
        const [, kind] = /create or replace (table|view) /.exec(statement) ?? [];
        const hasKey = statement.includes(`kms_key_name='${kmsKey}'`);
        return kind === undefined ? [] : [{ kind, hasKey }];
      });
      const keyed = Map.groupBy(made, ({ kind, hasKey }) => `${kind} ${hasKey}`);
      expect([...keyed.keys()].toSorted()).toEqual(['table true', 'view false']);
      expect(keyed.get('table true')!.length).toBeGreaterThan(20);
    });

    test.each([
      ['', 'bridge_event_masters', 300],
      ['', 'dim_lineage_nodes', 300],
      ['', 'dim_masters', 16],
      ['', 'dim_masters_history', 16],
      ['', 'fct_entity_changes', 50],
      ['', 'fct_events', 200],
      ['', 'fct_lineage_edges', 300],
      ['', 'fct_master_timeline', 500],
      ['', 'feat_master_activity_daily', 200],
      ['_intermediate', 'int_activity__day_tiles', 300],
      ['_intermediate', 'int_event_masters__resolved', 300],
      ['_intermediate', 'int_events__parsed', 300],
      ['_intermediate', 'int_lookups__mastered', 30],
      ['_intermediate', 'int_row_changes__owned', 50],
      ['_staging', 'stg_tributary__references', 100],
      ['_staging', 'stg_nexus__event', 200],
    ])("analytics%s.%s equals DuckDB's, cell by cell", async (part, table, rowsMin) => {
      const target = { server, dataset: `${models()}${part}` };
      const columns = columnsOf.get(part)!.get(table)!;
      const rows = await bigqueryRows(target, table, columns);
      expect(rows.length).toBeGreaterThanOrEqual(rowsMin);
      const expected = await duckdbRows(file('whole'), `analytics${part}.${table}`, columns);
      expect(firstDifference(rows.map(documentsAlike), expected.map(documentsAlike))).toBeNull();
    });
  });
}
