import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bigqueryLake } from '../../models/bigquery-lake.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import type { ModelsLake } from '../../models/lake.ts';
import type { Engine } from '../../models/staging/column-family.ts';
import { bigqueryRuns } from '../support/bigquery-runs.ts';
import type { TestBigQuery } from '../support/test-bigquery.ts';
import { bigqueryRows, type Columns, duckdbRows, readColumns } from './engine-rows.ts';
import { caseModel, macroCases } from './macro-cases.ts';
import { runDbt } from './run-dbt.ts';
import { readRunResults } from '../../models/dbt-results.ts';

const macros = path.resolve(import.meta.dirname, '../../dbt/macros');
const runs = await bigqueryRuns({ statements: 200, tablesPerStatement: 1 });

/** A model with a unit test of dbt's own, which each engine runs with rows made of literals. */
const unitTested = {
  'types_given.sql': "select 'plain' as event_type",
  'types_read.sql': `
    select event_type, {{ event_dialect('event_type') }} as dialect,
      {{ state_of(extracted('event_type', ':([^:]+)$')) }} as state
    from {{ ref('types_given') }}`,
  'types_read.yml': JSON.stringify({
    unit_tests: [
      {
        name: 'types_are_read',
        model: 'types_read',
        given: [
          {
            input: "ref('types_given')",
            rows: [{ event_type: 'a:b:v1:done' }, { event_type: null }],
          },
        ],
        expect: {
          rows: [
            { event_type: 'a:b:v1:done', dialect: 'canonical', state: 'success' },
            { event_type: null, dialect: 'none', state: null },
          ],
        },
      },
    ],
  }),
};

async function dispatched(): Promise<ReadonlyMap<string, readonly string[]>> {
  const folder = path.join(macros, 'portable');
  const files = await readdir(folder);
  const text = (
    await Promise.all(files.map((file) => readFile(path.join(folder, file), 'utf8')))
  ).join('\n');
  const found = [...text.matchAll(/macro (duckdb|bigquery)__(\w+)/g)];
  const byName = Map.groupBy(found, ([, , name = '']) => name);
  return new Map([...byName].map(([name, own]) => [name, own.map(([, engine = '']) => engine)]));
}

test('every portable macro that one engine has its own way for has a way for the other', async () => {
  const found = await dispatched();
  expect(found.size).toBeGreaterThan(25);
  const lame = [...found].filter(([, engines]) => engines.toSorted().join() !== 'bigquery,duckdb');
  expect(lame).toEqual([]);
});

test('every one of them is compared', async () => {
  const compared = new Set(macroCases.flatMap((one) => one.macros));
  expect([...(await dispatched()).keys()].filter((name) => !compared.has(name))).toEqual([]);
});

let dir: string;
const schema = 'macros';
const file = () => path.join(dir, 'lake.duckdb');

beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-macros-'));
  await build(duckdbLake(file()), schema);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Builds a project of the cases' models. */
async function build(lake: ModelsLake, into: string): Promise<void> {
  const folder = path.join(dir, lake.engine);
  await mkdir(path.join(folder, 'models'), { recursive: true });
  await cp(macros, path.join(folder, 'macros'), { recursive: true });
  const project = {
    name: 'macros',
    version: '1.0.0',
    profile: 'macros',
    'model-paths': ['models'],
    'macro-paths': ['macros'],
    vars: { closing_grace_seconds: 60, mask_key: 'key', image_letters_max: 1000 },
  };
  await writeFile(path.join(folder, 'dbt_project.yml'), JSON.stringify(project));
  const profiles = { macros: { target: 'lake', outputs: { lake: lake.profile(into) } } };
  await writeFile(path.join(folder, 'profiles.yml'), JSON.stringify(profiles));
  for (const one of macroCases) {
    await writeFile(path.join(folder, 'models', `${one.name}.sql`), caseModel(one));
  }
  for (const [name, text] of Object.entries(unitTested)) {
    await writeFile(path.join(folder, 'models', name), text);
  }
  await runDbt(lake, folder, ['build']);
}

/** What became of dbt's own unit tests. */
async function unitTests(engine: Engine) {
  const results = await readRunResults(path.join(dir, engine, 'target'));
  const found = results?.filter(({ kind }) => kind === 'other');
  return found?.map(({ name, status }) => [name, status]);
}

describe('portable macros on DuckDB', () => {
  test("dbt's unit tests run", async () => {
    expect(await unitTests('duckdb')).toEqual([['types_read', 'success']]);
  });

  const told = macroCases.filter(({ expected }) => expected !== undefined);
  test.each(told)('$name gives what it says', async ({ name, expected }) => {
    const { type, values } = expected!;
    const rows = await duckdbRows(file(), `${schema}.${name}`, [
      { name: 'n', type: 'INT64' },
      { name: 'result', type },
    ]);
    expect(rows).toEqual(values.map((value, at) => `n=${at} · result=${value}`).toSorted());
  });
});

for (const { name: where, isSkipped, isEmulator, start } of runs) {
  describe.skipIf(isSkipped)(`portable macros on ${where}`, () => {
    let server: TestBigQuery;
    let columnsOf: Columns;
    const target = () => ({ server, dataset: `${server.dataset}_${schema}` });

    beforeAll(async () => {
      server = await start();
      await build(bigqueryLake({ ...server, query: async () => [] }), target().dataset);
      columnsOf = await readColumns(target());
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    test("dbt's unit tests run", async () => {
      expect(await unitTests('bigquery')).toEqual([['types_read', 'success']]);
    });

    for (const { name, given, emulatorGap } of macroCases) {
      const isGap = isEmulator && emulatorGap !== undefined;
      const gap = isGap ? ` (${emulatorGap})` : '';
      test.skipIf(isGap)(`${name} gives the same as on DuckDB${gap}`, async () => {
        const columns = columnsOf.get(name)!;
        const rows = await bigqueryRows(target(), name, columns);
        expect(rows).toHaveLength(given.length);
        expect(rows).toEqual(await duckdbRows(file(), `${schema}.${name}`, columns));
      });
    }
  });
}
