import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { createBigquerySink } from '../../sinks/bigquery/bigquery-sink.ts';
import { openLakeReader } from '../../sinks/bigquery/read-lake.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';
import type { Checkpoint, Sink } from '../../sinks/sink.ts';
import { BatchMaker, versionOf } from '../support/batch-maker.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';

let fake: FakeBigQuery;
let dataset: string;
let statements: string[];
beforeAll(async () => {
  fake = await FakeBigQuery.start();
});
afterAll(() => fake[Symbol.asyncDispose]());
beforeEach(async () => {
  dataset = `lake_${randomBytes(6).toString('hex')}`;
  statements = [];
  fake.onStatement = async (sql) => {
    statements.push(sql);
  };
  await fake.store.createDataset({ projectId: 'test', datasetId: dataset });
});

const place = () => ({ project: 'test', dataset, location: 'US', endpoint: fake.apiEndpoint });

function tablesOf(maker: BatchMaker, count: number): readonly TableVersion[] {
  return Array.from({ length: count }, (_, index) =>
    versionOf(
      {
        name: `t${index}`,
        oid: 20_000 + index,
        id: 1 + index,
        key: ['id'],
        columns: { id: { kind: 'int4' }, value: { kind: 'text' } },
      },
      maker.next,
    ),
  );
}

async function evolveAll(sink: Sink, versions: readonly TableVersion[]): Promise<void> {
  for (const version of versions) await sink.evolve(version);
}

async function fillOnce(sink: Sink, count: number): Promise<Checkpoint> {
  const maker = new BatchMaker();
  const before = await sink.open();
  const versions = tablesOf(maker, count);
  await evolveAll(sink, versions);
  for (const version of versions) maker.add(version, { op: 'c', after: [1, 'one'] });
  return await maker.apply(sink, before);
}

test('the tables of a batch are loaded side by side, eight at a time', async () => {
  const sink = createBigquerySink(place());
  const gate = Promise.withResolvers<void>();
  for (let load = 0; load < 11; load += 1) {
    fake.faults.add({ jobKind: 'load', fault: { kind: 'hold-job', until: gate.promise } });
  }
  const loaded = fillOnce(sink, 11);
  await vi.waitFor(() => expect(fake.faults.left).toBe(3), { timeout: 20_000 });
  gate.resolve();
  await loaded;
  expect(fake.faults.left).toBe(0);
  const read = openLakeReader(place());
  expect(await read.rows(`select count(*) from \`${dataset}\`.t10__changes`)).toEqual([['1']]);
  await sink.close();
});

test('a new owner makes no view again that is as it should be, and mends one that is not', async () => {
  const sink = createBigquerySink(place());
  await fillOnce(sink, 3);
  await sink.close();
  await openLakeReader(place()).rows(
    `create or replace view \`${dataset}\`.t1 as select 1 as id, 'x' as value`,
  );
  statements = [];
  const next = createBigquerySink(place());
  await next.open();
  const views = statements.filter((sql) => /create or replace view/i.test(sql));
  expect(views).toHaveLength(1);
  expect(views[0]).toContain('t1');
  await next.close();
});

test('all columns that a version adds are one change of each table', async () => {
  const sink = createBigquerySink(place());
  const maker = new BatchMaker();
  await sink.open();
  const [first] = tablesOf(maker, 1);
  await sink.evolve(first!);
  const more = Object.fromEntries(
    Array.from({ length: 9 }, (_, at) => [`more${at}`, { kind: 'text' as const }]),
  );
  maker.transaction += 1;
  statements = [];
  await sink.evolve(
    versionOf(
      {
        name: 't0',
        oid: 20_000,
        id: 2,
        key: ['id'],
        columns: { id: { kind: 'int4' }, value: { kind: 'text' }, ...more },
      },
      maker.next,
    ),
  );
  expect(statements.filter((sql) => /^alter table/i.test(sql))).toHaveLength(2);
  await sink.close();
});
