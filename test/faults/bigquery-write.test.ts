import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { createBigquerySink } from '../../sinks/bigquery/bigquery-sink.ts';
import { type Change, ExactText, type RowImage } from '../../schemas/change.ts';
import { cutAfter, formatPosition } from '../../schemas/position.ts';
import type { ColumnSchema } from '../../schemas/table-schema.ts';
import { makeBatch } from '../../sinks/batch.ts';
import type { BigQueryMode } from '../../sinks/bigquery/permissions.ts';
import {
  commandsArbitrary,
  type History,
  runHistory,
  sortedIdentities,
  tableVersion,
} from '../conformance/sink-history.ts';
import {
  type AppliedCut,
  applyCuts,
  expectedChange,
  expectRowsAt,
  oneBatch,
} from '../conformance/sink-suite-steps.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import type { WriteFaultRule } from '../support/bigquery/grpc/write-faults.ts';
import type { BigqueryHarness } from '../support/bigquery-harness.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

const modes = ['batch', 'stream', 'bigquery-cdc'] as const;
const writing = ['stream', 'bigquery-cdc'] as const;

const one = { table: 'items', value: 0, keepsToast: false, endsTransaction: true } as const;

/** Each change once, with its place on the log. */
async function expectChangesOnce(harness: BigqueryHarness, history: History): Promise<void> {
  for (const { table, topic } of history.cuts.at(-1)?.versions ?? []) {
    const stored = (await harness.changes(table)).toSorted((a, b) => (a.seq < b.seq ? -1 : 1));
    const wanted = history.changes.filter((change) => change.topic === topic);
    expect(stored.map(({ batchId, ...rest }) => (batchId === '' ? {} : rest))).toEqual(
      wanted.map((change) => expectedChange(change, table)),
    );
  }
}

/** Once nobody else is at work, each table's rows are in one table, whatever owners left when they died. */
async function expectNoOrphans(harness: BigqueryHarness, history: History): Promise<void> {
  fake.writes.faults.clear();
  const last = await harness.reopen();
  await last.open();
  await last.close();
  const tables = fake.store.tables({ projectId: 'test', datasetId: harness.dataset });
  const states = tables.filter(({ ref }) => ref.tableId.includes('__state'));
  const owned = states.map(({ ref }) => ref.tableId.replace(/__state.*$/, ''));
  expect(owned.toSorted()).toEqual([...new Set(owned)].toSorted());
  // One without a row may be missing: its owner died behind the last cut.
  const changed = history.changes.map(({ version }) => version.table.name);
  expect(owned).toEqual(expect.arrayContaining([...new Set(changed)]));
}

/** What happens to one owner after some cuts. */
interface Ending {
  readonly mode: BigQueryMode;
  readonly cuts: number;
  /** The step of `apply` at which it dies; null: another owner takes over while it goes on. */
  readonly step: string | null;
  /** Transactions that it takes in one batch. */
  readonly stride: number;
  /** Every how many batches it publishes. */
  readonly publishes: number;
  /** What goes wrong with the Storage Write interface meanwhile. */
  readonly wrong: readonly WriteFaultRule[];
}

const unavailable = 14;
const aborted = 10;
const denied = 7;
const notFound = 5;
const writeFaults: Record<string, WriteFaultRule> = {
  'an append never arrives': { call: 'append', fault: { kind: 'cut', when: 'before' } },
  'the answer of an append is lost': { call: 'append', fault: { kind: 'cut', when: 'after' } },
  'the service is away after an append': {
    call: 'append',
    fault: { kind: 'status', when: 'after', code: unavailable },
  },
  'an append is to be sent again': { call: 'append', fault: { kind: 'refusal', code: aborted } },
  'an append is refused for good': { call: 'append', fault: { kind: 'refusal', code: denied } },
  'the answer of a new stream is lost': {
    call: 'create',
    fault: { kind: 'status', when: 'after', code: unavailable },
  },
  'the answer of a finalization is lost': {
    call: 'finalize',
    fault: { kind: 'status', when: 'after', code: unavailable },
  },
  'a finalization is refused': {
    call: 'finalize',
    fault: { kind: 'status', when: 'before', code: denied },
  },
};
const ends = ['finalized', 'forgotten'] as const;
for (const how of ends) {
  writeFaults[`a stream was ${how} before an append`] = {
    call: 'append',
    fault: { kind: 'expire', how },
  };
  writeFaults[`a stream was ${how} before its finalization`] = {
    call: 'finalize',
    fault: { kind: 'expire', how },
  };
}
const wrongRule = fc
  .record({ name: fc.constantFrom(...Object.keys(writeFaults)), skip: fc.nat(4) })
  .map(({ name, skip }): WriteFaultRule => ({ ...writeFaults[name]!, skip }));

const steps = ['begun', 'appended', 'written', 'staged', 'before-commit', 'after-commit'] as const;
const endings = (mode: fc.Arbitrary<BigQueryMode>) =>
  fc.array(
    fc.record<Ending>({
      mode,
      cuts: fc.nat(3),
      step: fc.constantFrom(...steps, 'written', null, null),
      stride: fc.integer({ min: 1, max: 12 }),
      publishes: fc.integer({ min: 1, max: 3 }),
      wrong: fc.array(wrongRule, { maxLength: 2 }),
    }),
    { minLength: 1, maxLength: 5 },
  );

/** The ends of every `stride` transactions, and the last one. */
function cutsOf(
  { cuts }: History,
  { stride, publishes }: Pick<Ending, 'stride' | 'publishes'>,
): readonly AppliedCut[] {
  return cuts.flatMap((_, index) => {
    const isEnd = index % stride === stride - 1 || index === cuts.length - 1;
    return isEnd ? [{ index, publish: Math.floor(index / stride) % publishes === 0 }] : [];
  });
}

/** Owners come and go, dying or replaced, and the last one loads what is left. */
async function loadThrough(harness: BigqueryHarness, history: History, given: readonly Ending[]) {
  const zombies: Promise<unknown>[] = [];
  for (const { cuts, step, wrong, ...batches } of given) {
    for (const rule of wrong) fake.writes.faults.add(rule);
    const sink = await harness.reopen();
    const reached = Promise.withResolvers<void>();
    let left = cuts;
    if (left === 0 && step !== null) harness.crashAt(step);
    const run = applyCuts(sink, history, cutsOf(history, batches), async () => {
      left -= 1;
      if (left <= 0) reached.resolve();
      if (left === 0 && step !== null) harness.crashAt(step);
    });
    const ended = run.catch(() => undefined);
    zombies.push(ended);
    await (step === null ? Promise.race([ended, reached.promise]) : ended);
  }
  const last = { index: history.cuts.length - 1, publish: true };
  for (let attempt = 0; ; attempt += 1) {
    const failure: unknown = await applyCuts(await harness.reopen(), history, [last]).then(
      () => null,
      (error: unknown) => error,
    );
    if (failure === null) break;
    // A zombie's transaction may have been quicker; a step ordered for another owner may strike here.
    if (attempt > 4 * given.length + 2) throw failure;
  }
  await Promise.all(zombies);
}

describe('rows and changes through the Storage Write interface', () => {
  const loads = (modeOf: fc.Arbitrary<BigQueryMode>, runs: number) =>
    fc.assert(
      fc.asyncProperty(commandsArbitrary(40), endings(modeOf), async (commands, given) => {
        const history = runHistory([...commands]);
        let owner = 0;
        const harness = await fakeBigqueryHarness(fake, () => {
          owner += 1;
          return { mode: given[owner % given.length]?.mode ?? 'stream' };
        });
        try {
          await loadThrough(harness, history, given);
          await expectRowsAt(harness, history, history.cuts.length - 1);
          await expectChangesOnce(harness, history);
          await expectNoOrphans(harness, history);
        } finally {
          fake.writes.faults.clear();
          await harness.destroy();
        }
      }),
      { numRuns: runs },
    );

  it.for(writing)('owners of mode %s may die or be replaced at any step', async (mode) => {
    expect.hasAssertions();
    await loads(fc.constant(mode), 8);
  });

  it('each owner may have another mode', async () => {
    expect.hasAssertions();
    await loads(fc.constantFrom(...modes), 8);
  });

  it('in mode bigquery-cdc every published cut shows exactly the rows of the source', async () => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(commandsArbitrary(40), async (commands) => {
        const history = runHistory([...commands]);
        const every = cutsOf(history, { stride: 1, publishes: 1 });
        const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'bigquery-cdc' }));
        try {
          await applyCuts(harness.sink, history, every, ({ index }) =>
            expectRowsAt(harness, history, index),
          );
        } finally {
          await harness.destroy();
        }
      }),
      { numRuns: 6 },
    );
  });

  it('changes are there before their cut is published, where readers of the cut do not see them', async () => {
    const insert = { table: 'items', what: 'insert', value: 0, keepsToast: false } as const;
    const history = runHistory(
      [0, 1].map((pick) => ({ ...insert, pick, endsTransaction: pick === 0 })),
    );
    const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'stream' }));
    const [items] = history.cuts[0]?.versions ?? [];
    await applyCuts(harness.sink, history, [
      { index: 0, publish: true },
      { index: 1, publish: false },
    ]);
    const all = await harness.lake.rows(
      `select count(*) from \`${harness.dataset}\`.items__changes`,
    );
    expect(all).toEqual([['2']]);
    expect(items === undefined ? [] : await harness.changes(items.table)).toHaveLength(1);
    await harness.destroy();
  });

  it.for(['written', 'staged'] as const)(
    'a value that was not sent is the old row’s, although a larger batch died %s over that row',
    async (step) => {
      const history = runHistory([
        { ...one, what: 'insert', pick: 0, value: 1 },
        { ...one, what: 'move', pick: 1, value: 2, keepsToast: true },
        { ...one, what: 'insert', pick: 0, value: 3 },
      ]);
      const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'bigquery-cdc' }));
      await applyCuts(harness.sink, history, [{ index: 0, publish: true }]);
      harness.crashAt(step);
      const dying = applyCuts(await harness.reopen(), history, [{ index: 2, publish: true }]);
      await expect(dying).rejects.toThrow(step);
      const each = [1, 2].map((index) => ({ index, publish: true }));
      await applyCuts(await harness.reopen(), history, each);
      await expectRowsAt(harness, history, 2);
      await harness.destroy();
    },
  );

  it.for([
    { title: 'its stream', cuts: [{ index: 0, publish: true }] },
    { title: 'a stream that it makes only then', cuts: [] },
  ])('a replaced owner appends nothing more to $title', async ({ cuts }) => {
    const history = runHistory([0, 1, 2].map((pick) => ({ ...one, what: 'insert', pick })));
    const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'stream' }));
    const zombie = harness.sink;
    const checkpoint = await applyCuts(zombie, history, cuts);
    for (const version of history.cuts[0]?.versions ?? []) await zombie.evolve(version);
    const last = { index: 2, publish: true };
    await applyCuts(await harness.reopen(), history, [last]);
    const late = zombie.apply(oneBatch(history, checkpoint, last));
    await expect(late).rejects.toMatchObject({ kind: 'sink-fenced' });
    await expectChangesOnce(harness, history);
    await harness.destroy();
  });

  it('what a replaced owner had under way arrives too late to be appended', async () => {
    const history = runHistory([0, 1, 2].map((pick) => ({ ...one, what: 'insert', pick })));
    const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'stream' }));
    const zombie = harness.sink;
    const checkpoint = await applyCuts(zombie, history, [{ index: 0, publish: true }]);
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.writes.faults.add({ call: 'append', fault: { kind: 'hold', until: promise } });
    const late = zombie.apply(oneBatch(history, checkpoint, { index: 1, publish: true }));
    const refused = late.then(
      () => null,
      (error: unknown) => error,
    );
    await expect.poll(() => fake.writes.faults.left).toBe(0);
    await applyCuts(await harness.reopen(), history, [{ index: 2, publish: true }]);
    resolve();
    expect(await refused).toMatchObject({ kind: 'sink-fenced' });
    await expectChangesOnce(harness, history);
    await harness.destroy();
  });

  it('without history rows by key need no changes, and are read as they are where readers accept old ones', async () => {
    const history = runHistory([
      { ...one, what: 'insert', pick: 0, value: 1 },
      { ...one, what: 'update', pick: 0, value: 2, keepsToast: true },
      { ...one, what: 'add-column', pick: 0, value: 3, keepsToast: true },
    ]);
    const harness = await fakeBigqueryHarness(fake);
    const sink = createBigquerySink({
      project: 'test',
      dataset: harness.dataset,
      location: 'US',
      endpoint: fake.apiEndpoint,
      storageEndpoint: fake.storageEndpoint,
      mode: 'bigquery-cdc',
      history: false,
      maxStalenessMinutes: 15,
    });
    await applyCuts(sink, history, cutsOf(history, { stride: 1, publishes: 1 }));
    await expectRowsAt(harness, history, history.cuts.length - 1);
    const sql = `select count(*) from \`${harness.dataset}\`.items__changes`;
    expect(await harness.lake.rows(sql)).toEqual([['0']]);
    await sink.close();
    await harness.destroy();
  });

  it('rows go along when their key becomes one that only statements can merge by, and back', async () => {
    const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'bigquery-cdc' }));
    const columns = ['id', 'day'].map((name): ColumnSchema => {
      const type = name === 'id' ? ({ kind: 'int8' } as const) : ({ kind: 'date' } as const);
      return { name, type, pgType: name === 'id' ? 'bigint' : 'date', nullable: true };
    });
    const { sink } = harness;
    let before = await sink.open();
    const rows: RowImage[] = [];
    for (const [index, key] of [['id'], ['id', 'day'], ['id']].entries()) {
      const cut = cutAfter(1, BigInt(0x1000 * (index + 1)));
      const position = { generation: 1, commitLsn: BigInt(0x1000 * (index + 1)), part: 0 } as const;
      const seq = formatPosition({ ...position, ordinal: 1 });
      const spec = { name: 'days', id: 1 + 10 * index, key, columns };
      const version = tableVersion(spec, formatPosition({ ...position, ordinal: 0 }));
      rows.push([BigInt(index), index === 1 ? new ExactText('infinity') : index]);
      const change: Change = {
        op: 'c',
        seq,
        lsn: 1n,
        xid: 1n,
        committedAtUs: 1n,
        capturedAtUs: 1n,
        topic: version.topic,
        partition: 0,
        offset: index,
        version,
        after: rows[index] ?? [],
        before: null,
        unchanged: [],
      };
      await sink.evolve(version);
      const after = { ...before, applied: cut, offsets: { [version.topic]: [index + 1] } };
      const ends = after.offsets;
      const watermark = { cut, lsn: '0/1', committedAtUs: '1', publish: true, full: true, ends };
      const parts = { before, after, changes: [change], deadLetters: [] };
      await sink.apply(makeBatch({ ...parts, cut: watermark }));
      before = after;
      const read = await harness.rows(version.table);
      expect(sortedIdentities(read.map(({ values }) => values))).toEqual(sortedIdentities(rows));
    }
    await harness.destroy();
  });
});

describe('a stream that the service ended because it was idle', () => {
  const insertions = (count: number): History =>
    runHistory(Array.from({ length: count }, (_, pick) => ({ ...one, what: 'insert', pick })));
  const cut = (index: number): AppliedCut => ({ index, publish: true });
  const recorded = async ({ lake, dataset }: BigqueryHarness): Promise<readonly string[]> =>
    (await lake.rows(`select stream from \`${dataset}\`._tributary_streams`)).map(([name]) =>
      String(name),
    );

  it.for(ends)('and %s is followed by a new one, which is recorded in its place', async (how) => {
    const history = insertions(3);
    const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'stream' }));
    const checkpoint = await applyCuts(harness.sink, history, [cut(0)]);
    const [idle, ...others] = await recorded(harness);
    expect(others).toEqual([]);
    fake.writes.faults.add({ call: 'append', fault: { kind: 'expire', how } });
    const batch = oneBatch(history, checkpoint, cut(1));
    await harness.sink.apply(batch);
    expect(fake.writes.faults.left).toBe(0);
    const [next, ...more] = await recorded(harness);
    expect(more).toEqual([]);
    expect(next).not.toBe(idle);
    await harness.sink.apply(oneBatch(history, batch.checkpoint, cut(2)));
    expect(await recorded(harness)).toEqual([next]);
    await expectRowsAt(harness, history, 2);
    await expectChangesOnce(harness, history);
    await harness.destroy();
  });

  it.for(ends)('and %s after an append whose answer was lost has it already', async (how) => {
    const history = insertions(3);
    const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'stream' }));
    const checkpoint = await applyCuts(harness.sink, history, [cut(0)]);
    fake.writes.faults.add({ call: 'append', fault: { kind: 'cut', when: 'after' } });
    fake.writes.faults.add({ call: 'append', fault: { kind: 'expire', how } });
    const batch = oneBatch(history, checkpoint, cut(1));
    await harness.sink.apply(batch);
    expect(fake.writes.faults.left).toBe(0);
    await harness.sink.apply(oneBatch(history, batch.checkpoint, cut(2)));
    await expectRowsAt(harness, history, 2);
    await expectChangesOnce(harness, history);
    await harness.destroy();
  });

  it.for(ends)('and %s leaves a killed owner’s new one for the next owner to end', async (how) => {
    const history = insertions(4);
    const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'stream' }));
    const checkpoint = await applyCuts(harness.sink, history, [cut(0)]);
    fake.writes.faults.add({ call: 'append', fault: { kind: 'expire', how } });
    harness.crashAt('appended');
    const dying = harness.sink.apply(oneBatch(history, checkpoint, cut(1)));
    await expect(dying).rejects.toThrow('appended');
    const [left = '', ...others] = await recorded(harness);
    expect(others).toEqual([]);
    // The next owner finds the changes and appends them no second time.
    await applyCuts(await harness.reopen(), history, [cut(1), cut(3)]);
    expect(await recorded(harness)).not.toContain(left);
    expect(await fake.writes.streams.finalize(left)).toBe(1n);
    await expectRowsAt(harness, history, 3);
    await expectChangesOnce(harness, history);
    await harness.destroy();
  });

  it('takes nothing any more that was under way to it, although it is only said to be gone', async () => {
    const history = insertions(2);
    const harness = await fakeBigqueryHarness(fake, () => ({ mode: 'stream' }));
    const checkpoint = await applyCuts(harness.sink, history, [cut(0)]);
    const [left = ''] = await recorded(harness);
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.writes.faults.add({ call: 'append', fault: { kind: 'hold', until: promise } });
    fake.writes.faults.add({ call: 'append', fault: { kind: 'refusal', code: notFound } });
    const applied = harness.sink.apply(oneBatch(history, checkpoint, cut(1)));
    await expect.poll(() => fake.writes.faults.left).toBe(1);
    fake.writes.cut();
    await applied;
    expect(fake.writes.faults.left).toBe(0);
    resolve();
    await nextTurn();
    // What was under way is before this in the stream's order, whatever became of it.
    expect(await fake.writes.streams.finalize(left)).toBe(1n);
    await expectChangesOnce(harness, history);
    await harness.destroy();
  });
});
