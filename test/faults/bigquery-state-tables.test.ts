import { afterAll, beforeEach, expect, it } from 'vitest';
import { createBigquerySink } from '../../sinks/bigquery/bigquery-sink.ts';
import type { BigQueryMode } from '../../sinks/bigquery/permissions.ts';
import { shareOf } from '../../sinks/shares.ts';
import { type History, runHistory } from '../conformance/sink-history.ts';
import { applyCuts, expectRowsAt, oneBatch } from '../conformance/sink-suite-steps.ts';
import type { BigqueryHarness } from '../support/bigquery-harness.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());
beforeEach(() => {
  mode = 'bigquery-cdc';
});

let mode: BigQueryMode;
const newHarness = () => fakeBigqueryHarness(fake, () => ({ mode }));

const one = { table: 'items', value: 0, keepsToast: false, endsTransaction: true } as const;
const cut = (index: number) => ({ index, publish: true });
/** A row, and then as often a truncate and another row. */
const truncated = (times: number): History =>
  runHistory([
    { ...one, what: 'insert', pick: 0 },
    ...Array.from({ length: times }, (_, index) => [
      { ...one, what: 'truncate' as const, pick: 0, endsTransaction: false },
      { ...one, what: 'insert' as const, pick: index + 1 },
    ]).flat(),
  ]);

/** The tables that have, or had, the rows of `items`. */
const stateTables = ({ dataset }: Pick<BigqueryHarness, 'dataset'>): readonly string[] =>
  fake.store
    .tables({ projectId: 'test', datasetId: dataset })
    .flatMap(({ ref }) => (ref.tableId.startsWith('items__state') ? [ref.tableId] : []))
    .toSorted();

const denyDrops = (path: RegExp, times = 1) =>
  fake.faults.add({
    method: 'DELETE',
    path,
    times,
    fault: { kind: 'error', when: 'before', reason: 'accessDenied' },
  });

it('a replaced table that could not be dropped goes with the next replacement', async () => {
  const history = truncated(2);
  const harness = await newHarness();
  denyDrops(/items__state/);
  const checkpoint = await applyCuts(harness.sink, history, [cut(0), cut(1)]);
  expect(fake.faults.left).toBe(0);
  expect(stateTables(harness)).toHaveLength(2);
  await harness.sink.apply(oneBatch(history, checkpoint, cut(2)));
  expect(stateTables(harness)).toHaveLength(1);
  await expectRowsAt(harness, history, 2);
  await harness.destroy();
});

it('the next owner drops what an owner before it could not, whatever the mode of either', async () => {
  const history = truncated(1);
  const harness = await newHarness();
  denyDrops(/items__state/, 2);
  await applyCuts(harness.sink, history, [cut(0), cut(1)]);
  const [first, second] = stateTables(harness);
  expect(second).toBeDefined();
  // It cannot either, and loads all the same.
  await (await harness.reopen()).open();
  expect([fake.faults.left, stateTables(harness)]).toEqual([0, [first, second]]);
  mode = 'batch';
  await (await harness.reopen()).open();
  expect(stateTables(harness)).toEqual([second]);
  await expectRowsAt(harness, history, 1);
  await harness.destroy();
});

it.for(['written', 'staged', 'before-commit'] as const)(
  'a table that an owner made and died %s over goes with the next owner',
  async (step) => {
    const history = truncated(1);
    const harness = await newHarness();
    await applyCuts(harness.sink, history, [cut(0)]);
    const before = stateTables(harness);
    harness.crashAt(step);
    const dying = await harness.reopen();
    await expect(applyCuts(dying, history, [cut(1)])).rejects.toThrow(step);
    expect(stateTables(harness)).toHaveLength(2);
    const next = await harness.reopen();
    await next.open();
    expect(stateTables(harness)).toEqual(before);
    await expectRowsAt(harness, history, 0);
    await applyCuts(await harness.reopen(), history, [cut(1)]);
    await expectRowsAt(harness, history, 1);
    expect(stateTables(harness)).toHaveLength(1);
    await harness.destroy();
  },
);

it.for([
  ['read its tables', { sql: /select layout from/ }],
  ['looked for what nobody needs', { method: 'GET', path: /\/tables$/ }],
] as const)(
  'an owner that was replaced while it %s drops nothing of the next',
  async ([, rule]) => {
    const history = truncated(2);
    const harness = await newHarness();
    await applyCuts(harness.sink, history, [cut(0)]);
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.faults.add({ ...rule, fault: { kind: 'hold', until: promise } });
    const zombie = await harness.reopen();
    const opening = zombie.open().then(
      () => null,
      (error: unknown) => error,
    );
    await expect.poll(() => fake.faults.left).toBe(0);
    const owner = await harness.reopen();
    const checkpoint = await applyCuts(owner, history, [cut(1)]);
    const made = stateTables(harness);
    resolve();
    expect(await opening).toMatchObject({ kind: 'sink-fenced' });
    expect(stateTables(harness)).toEqual(made);
    await expectRowsAt(harness, history, 1);
    await owner.apply(oneBatch(history, checkpoint, cut(2)));
    await expectRowsAt(harness, history, 2);
    await harness.destroy();
  },
);

it('a share drops nothing of the others', async () => {
  const harness = await newHarness();
  const shares = 2;
  const shareOfTable = (table: string) => shareOf(`public.${table}`, shares);
  const sinkOf = (share: number) =>
    createBigquerySink({
      project: 'test',
      dataset: harness.dataset,
      location: 'US',
      endpoint: fake.apiEndpoint,
      storageEndpoint: fake.storageEndpoint,
      mode: 'bigquery-cdc',
      share,
      shares,
    });
  denyDrops(/items__state/);
  const history = truncated(1);
  const owner = sinkOf(shareOfTable('items'));
  await applyCuts(owner, history, [cut(0), cut(1)]);
  expect(fake.faults.left).toBe(0);
  const both = stateTables(harness);
  expect(both).toHaveLength(2);
  const other = sinkOf(1 - shareOfTable('items'));
  await other.open();
  expect(stateTables(harness)).toEqual(both);
  await owner.open();
  expect(stateTables(harness)).toHaveLength(1);
  await owner.close();
  await other.close();
  await harness.destroy();
});
