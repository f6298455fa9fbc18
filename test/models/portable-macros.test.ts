import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bigqueryLake } from '../../models/bigquery-lake.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import type { ModelsLake } from '../../models/lake.ts';
import { lacksLocalBigQuery } from '../support/local-bigquery/environment.ts';
import {
  type LocalBigQuery,
  startLocalBigQuery,
} from '../support/local-bigquery/local-bigquery.ts';
import { bigqueryRows, type Columns, duckdbRows, readColumns } from './engine-rows.ts';
import { caseModel, macroCases } from './macro-cases.ts';
import { runDbt } from './run-dbt.ts';

const macros = path.resolve(import.meta.dirname, '../../dbt/macros');
const lacking = await lacksLocalBigQuery();

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

describe.skipIf(lacking !== null)(
  `portable macros${lacking === null ? '' : ` (${lacking})`}`,
  () => {
    let dir: string;
    let server: LocalBigQuery;
    let columnsOf: Columns;
    const file = () => path.join(dir, 'lake.duckdb');
    const dataset = 'macros';

    beforeAll(async () => {
      dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-macros-'));
      server = await startLocalBigQuery();
      const { project, url: endpoint } = server;
      const query = async () => [];
      await build(duckdbLake(file()));
      await build(bigqueryLake({ project, dataset, location: 'US', endpoint, query }));
      columnsOf = await readColumns({ server, dataset });
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    });

    async function build(lake: ModelsLake): Promise<void> {
      const folder = path.join(dir, lake.engine);
      await mkdir(path.join(folder, 'models'), { recursive: true });
      await cp(macros, path.join(folder, 'macros'), { recursive: true });
      const project = {
        name: 'macros',
        version: '1.0.0',
        profile: 'macros',
        'model-paths': ['models'],
        'macro-paths': ['macros'],
        vars: { closing_grace_seconds: 60, mask_key: 'key', state: 'x', image_letters_max: 1000 },
      };
      await writeFile(path.join(folder, 'dbt_project.yml'), JSON.stringify(project));
      const profiles = { macros: { target: 'lake', outputs: { lake: lake.profile(dataset) } } };
      await writeFile(path.join(folder, 'profiles.yml'), JSON.stringify(profiles));
      for (const one of macroCases) {
        await writeFile(path.join(folder, 'models', `${one.name}.sql`), caseModel(one));
      }
      await runDbt(lake.engine, folder, ['build']);
    }

    for (const { name, given, emulatorGap } of macroCases) {
      test.skipIf(emulatorGap !== undefined)(
        `${name} gives the same${emulatorGap === undefined ? '' : ` (${emulatorGap})`}`,
        async () => {
          const target = { server, dataset };
          const columns = columnsOf.get(name)!;
          const rows = await bigqueryRows(target, name, columns);
          expect(rows).toHaveLength(given.length);
          expect(rows).toEqual(await duckdbRows(file(), `${dataset}.${name}`, columns));
        },
      );
    }
  },
);
