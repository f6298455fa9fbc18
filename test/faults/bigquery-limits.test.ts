import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { createBigquerySink } from '../../sinks/bigquery/bigquery-sink.ts';
import type { JobReport } from '../../sinks/bigquery/client.ts';
import { readLoadCosts } from '../../sinks/bigquery/load-costs.ts';
import type { PaceReport } from '../../sinks/bigquery/load-pace.ts';
import { openLakeReader } from '../../sinks/bigquery/read-lake.ts';
import { positionZero } from '../../schemas/position.ts';
import type { LogicalType, TableVersion } from '../../schemas/table-schema.ts';
import { shareOf } from '../../sinks/shares.ts';
import type { Checkpoint, Sink } from '../../sinks/sink.ts';
import { commandsArbitrary, runHistory } from '../conformance/sink-history.ts';
import { applyCuts } from '../conformance/sink-suite-steps.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';
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

const place = () => ({
  project: 'test',
  dataset,
  location: 'US',
  endpoint: fake.apiEndpoint,
  inlineTableBytesMax: 0,
});

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

function wideTable(maker: BatchMaker, columnCount: number): TableVersion {
  const names = Array.from({ length: columnCount }, (_, at) => `a_rather_long_column_name_${at}`);
  const columns = Object.fromEntries(names.map((name) => [name, { kind: 'text' as const }]));
  return versionOf(
    { name: 'wide', key: ['id'], columns: { id: { kind: 'int4' }, ...columns } },
    maker.next,
  );
}

test('a table of 1,000 columns is loaded, with those that an update did not send', async () => {
  const sink = createBigquerySink(place());
  const maker = new BatchMaker();
  let checkpoint = await sink.open();
  const version = wideTable(maker, 999);
  await sink.evolve(version);
  const after = [1, ...Array.from({ length: 999 }, (_, at) => `value ${at}`)];
  maker.add(version, { op: 'c', after });
  checkpoint = await maker.apply(sink, checkpoint);
  const unchanged = Array.from({ length: 40 }, (_, at) => at + 50);
  const sent = after.map((value, at) => (unchanged.includes(at) ? null : at === 3 ? 'new' : value));
  maker.add(version, { op: 'u', after: sent, unchanged });
  await maker.apply(sink, checkpoint);
  // Some columns at both ends and in between: the stand-in cannot read more at once.
  const read = (_: unknown, at: number) => at < 60 || at % 10 === 0;
  const columns = version.table.columns.filter(read);
  const rows: unknown[] = [];
  for await (const [, image] of openLakeReader(place()).readRows(version.table, columns, []))
    rows.push(image);
  const wanted = after.map((value, at) => (at === 3 ? 'new' : value));
  expect(rows).toEqual([wanted.filter(read)]);
  await sink.close();
});

test('a transaction of a hundred batches is published at once; what no script can hold is refused early', async () => {
  const sink = createBigquerySink(place());
  const maker = new BatchMaker();
  let checkpoint = await sink.open();
  const [version] = tablesOf(maker, 1);
  await sink.evolve(version!);
  for (let cut = 0; cut < 100; cut += 1) {
    maker.add(version!, { op: 'c', after: [cut, 'one'] });
    checkpoint = await maker.apply(sink, checkpoint, { publish: cut === 99 });
  }
  const lake = openLakeReader(place());
  expect(await lake.rows(`select count(*) from \`${dataset}\`.t0`)).toEqual([['100']]);
  const wide = wideTable(maker, 999);
  await sink.evolve(wide);
  const after = [1, ...Array.from({ length: 999 }, () => 'x')];
  const loadForEver = async () => {
    for (let cut = 0; cut < 50; cut += 1) {
      maker.add(wide, { op: 'c', after });
      checkpoint = await maker.apply(sink, checkpoint, { publish: false });
    }
  };
  await expect(loadForEver()).rejects.toMatchObject({
    kind: 'sink-refused',
    hint: expect.stringContaining('batch.rows') as string,
  });
});

test('47 tables are loaded in one transaction; a 48th is refused with the shares to configure', async () => {
  const sink = createBigquerySink(place());
  await fillOnce(sink, 47);
  await sink.close();
  const more = createBigquerySink(place());
  const maker = new BatchMaker(2);
  const before = await more.open();
  const versions = tablesOf(maker, 48);
  await evolveAll(more, versions);
  for (const version of versions) maker.add(version, { op: 'c', after: [2, 'two'] });
  await expect(maker.apply(more, before)).rejects.toMatchObject({
    kind: 'sink-refused',
    message: expect.stringContaining('48 tables') as string,
    hint: expect.stringContaining('sinks.<name>.shares: 2') as string,
  });
});

test('a lake is opened with the number of shares that it was loaded with, and with no other', async () => {
  const first = createBigquerySink({ ...place(), share: 0, shares: 3 });
  await fillOnce(first, 1);
  const reader = openLakeReader(place());
  const other = createBigquerySink({ ...place(), share: 1, shares: 2 });
  await expect(other.open()).rejects.toMatchObject({
    kind: 'sink-refused',
    hint: expect.stringContaining('sinks.<name>.shares: 3') as string,
  });
  // Shares that have not begun are at zero, and so is the lake.
  expect((await reader.checkpoint())?.applied).toBe(positionZero);
  const applied: string[] = [];
  for (const [share, transaction] of [1, 2].map((one) => [one, 10 * one] as const)) {
    const sink = createBigquerySink({ ...place(), share, shares: 3 });
    const maker = new BatchMaker(transaction);
    const before = await sink.open();
    applied.push((await maker.apply(sink, before)).applied);
  }
  const [least] = (
    await reader.rows(`select applied from \`${dataset}\`._tributary_checkpoints`)
  )[0]!;
  expect((await reader.checkpoint())?.applied).toBe(least);
  expect(least! < applied[0]!).toBe(true);
});

test('an update that does not send a column keeps its exact text beside those that it sends', async () => {
  const sink = createBigquerySink(place());
  const maker = new BatchMaker();
  let checkpoint = await sink.open();
  const float: LogicalType = { kind: 'float8' };
  const columns = {
    id: { kind: 'int4' },
    own: float,
    kept: { kind: 'array', element: float },
    plain: { kind: 'array', element: float },
  } as const;
  const version = versionOf({ name: 'exact', key: ['id'], columns }, maker.next);
  await sink.evolve(version);
  const unchanged = [2, 3];
  for (const id of [1, 2]) {
    maker.add(version, { op: 'c', after: [id, 0.5, [-0, 1], [2]] });
  }
  checkpoint = await maker.apply(sink, checkpoint);
  maker.add(version, { op: 'u', after: [1, -0, null, null], unchanged });
  maker.add(version, { op: 'u', after: [2, 3, null, null], unchanged });
  await maker.apply(sink, checkpoint);
  const rows: unknown[] = [];
  const lake = openLakeReader(place());
  for await (const [, image] of lake.readRows(version.table, version.table.columns, []))
    rows.push(image);
  expect(rows).toEqual(
    expect.arrayContaining([
      [1, -0, [-0, 1], [2]],
      [2, 3, [-0, 1], [2]],
    ]),
  );
  await sink.close();
});

test('what batches cost is in the ledger, in the report after each and in what status reads', async () => {
  await openLakeReader(place()).rows(
    `create table \`${dataset}\`._tributary_commits (batch_id string, cut string, lsn string,
      committed_at timestamp, is_published bool, row_count int64, table_count int64,
      dead_letter_count int64, applied_at timestamp, duration_ms float64)`,
  );
  const reports: PaceReport[] = [];
  const sink = createBigquerySink({
    ...place(),
    spacingMsMin: 3_000,
    scanBytesPerHourMax: 20_000,
    onPace: (report) => reports.push(report),
  });
  const first = await fillOnce(sink, 3);
  expect(reports).toMatchObject([{ loads: 3, spacing: { limit: expect.any(String) as string } }]);
  expect(reports[0]!.bytesBilled).toBeGreaterThan(0);
  expect(sink.pauseMs?.()).toBe(reports[0]!.spacing.ms);
  const maker = new BatchMaker(2);
  const [version] = tablesOf(new BatchMaker(), 1);
  maker.add(version!, { op: 'c', after: [2, 'two'] });
  await maker.apply(sink, first);
  expect(reports[1]).toMatchObject({ loads: 1, spacing: { limit: 'budget' } });
  const costs = await readLoadCosts(place());
  // The last publication is billed after its entry was written: the next entry has it.
  expect(costs.lastHour).toMatchObject({ batches: 2, loads: 4 });
  expect(costs.lastHour.bytesBilled).toBeGreaterThanOrEqual(reports[0]!.bytesBilled);
  expect(costs.lastDay).toEqual(costs.lastHour);
  expect(costs.spacing).toEqual({
    ms: expect.closeTo(reports[0]!.spacing.ms, 2) as number,
    limit: reports[0]!.spacing.limit,
  });
  await sink.close();
});

test('costs are those of all shares, with the wait of the batch that came last', async () => {
  const shares = 2;
  const versions = tablesOf(new BatchMaker(), 20);
  const reports: PaceReport[] = [];
  const loadShare = async (share: number, transaction: number) => {
    const own = versions.filter(({ table }) => shareOf(`public.${table.name}`, shares) === share);
    const spacingMsMin = 10_000 * (share + 1);
    const onPace = (report: PaceReport) => reports.push(report);
    const sink = createBigquerySink({ ...place(), share, shares, spacingMsMin, onPace });
    const maker = new BatchMaker(transaction);
    let checkpoint = await sink.open();
    const [first, second] = own;
    await evolveAll(sink, [first!, second!]);
    maker.add(first!, { op: 'c', after: [1, 'one'] }).add(second!, { op: 'c', after: [1, 'one'] });
    checkpoint = await maker.apply(sink, checkpoint);
    maker.add(first!, { op: 'c', after: [2, 'two'] });
    await maker.apply(sink, checkpoint);
    await sink.close();
  };
  await loadShare(1, 1);
  expect((await readLoadCosts(place())).spacing).toEqual({ ms: 20_000, limit: 'least' });
  await loadShare(0, 1);
  const costs = await readLoadCosts(place());
  expect(costs.lastHour).toMatchObject({ batches: 4, loads: 6 });
  expect(costs.lastHour.bytesBilled).toBeGreaterThan(0);
  expect(costs.lastHour.bytesPerBatch).toBe(costs.lastHour.bytesBilled / 4);
  expect(costs.spacing).toEqual({ ms: 10_000, limit: 'least' });
  expect(reports.map(({ spacing }) => spacing.ms)).toEqual([20_000, 20_000, 10_000, 10_000]);
});

test('each job is told when it ends, a failed one too, with what it is billed', async () => {
  const jobs: JobReport[] = [];
  const sink = createBigquerySink({ ...place(), onJob: (job) => jobs.push(job) });
  const error = { reason: 'backendError', message: 'try again' };
  fake.faults.add({ jobKind: 'load', fault: { kind: 'job-error', error } });
  await fillOnce(sink, 2);
  const loads = jobs.filter(({ kind }) => kind === 'load');
  expect(loads).toHaveLength(3);
  expect(loads.filter(({ isFailed }) => isFailed)).toHaveLength(1);
  const billed = jobs.reduce((sum, { bytesBilled }) => sum + bytesBilled, 0);
  const [row] = await openLakeReader(place()).rows(
    `select sum(bytes_billed) from \`${dataset}\`._tributary_commits`,
  );
  // The publication is billed after its entry was written.
  expect(billed).toBeGreaterThan(Number(row?.[0]));
  await sink.close();
});

test('a small batch needs no load and no staging table; a large one is loaded', async () => {
  const reports: PaceReport[] = [];
  const sink = createBigquerySink({
    ...place(),
    inlineTableBytesMax: 2_000,
    onPace: (report) => reports.push(report),
  });
  const checkpoint = await fillOnce(sink, 3);
  const maker = new BatchMaker(2);
  const [version] = tablesOf(new BatchMaker(), 1);
  for (let id = 0; id < 50; id += 1) maker.add(version!, { op: 'c', after: [id, 'x'.repeat(50)] });
  await maker.apply(sink, checkpoint);
  expect(reports.map(({ loads }) => loads)).toEqual([0, 1]);
  const tables = fake.store.tables({ projectId: 'test', datasetId: dataset });
  expect(tables.filter(({ ref }) => ref.tableId.includes('stage'))).toEqual([]);
  await sink.close();
});

test('whatever is in a batch, its tables are the same whether its rows were loaded or travelled with the statements', async () => {
  expect.hasAssertions();
  await fc.assert(
    fc.asyncProperty(commandsArbitrary(30), async (commands) => {
      const history = runHistory(commands);
      const last = history.cuts.length - 1;
      const cuts = history.cuts.map((_, index) => ({
        index,
        publish: index % 2 === 0 || index === last,
      }));
      const stored = new Map<number, unknown[]>();
      for (const bytes of [0, 1 << 20]) {
        const harness = await fakeBigqueryHarness(fake, () => ({ inlineTableBytesMax: bytes }));
        await applyCuts(harness.sink, history, cuts);
        const tables: unknown[] = [];
        for (const { table } of history.cuts.at(-1)?.versions ?? []) {
          const [rows, changes] = [await harness.rows(table), await harness.changes(table)];
          tables.push([table.name, bySeq(rows), bySeq(changes)]);
        }
        stored.set(bytes, tables);
        await harness.destroy();
      }
      expect(stored.get(1 << 20)).toEqual(stored.get(0));
    }),
    { numRuns: 5 },
  );
});

test('a share leaves the tables of the others alone', async () => {
  const share = shareOf('public.t0', 2);
  const owner = createBigquerySink({ ...place(), share, shares: 2 });
  await fillOnce(owner, 1);
  await owner.close();
  await openLakeReader(place()).rows(
    `create or replace view \`${dataset}\`.t0 as select 1 as id, 'x' as value`,
  );
  const viewsMadeBy = async (number: number) => {
    statements = [];
    const sink = createBigquerySink({ ...place(), share: number, shares: 2 });
    await sink.open();
    await sink.close();
    return statements.filter((sql) => /create or replace view/i.test(sql)).length;
  };
  expect(await viewsMadeBy(1 - share)).toBe(0);
  expect(await viewsMadeBy(share)).toBe(1);
});

const bySeq = <T extends { readonly seq: string }>(rows: readonly T[]): readonly T[] =>
  rows.toSorted((a, b) => (a.seq < b.seq ? -1 : 1));
