import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assert } from '../../runtime/assert.ts';
import type { Change, DeadLetter, RowImage } from '../../schemas/change.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import type { TableSchema } from '../../schemas/table-schema.ts';
import type { Checkpoint, Sink } from '../../sinks/sink.ts';
import { type History, commandsArbitrary, runHistory, sortedIdentities } from './sink-history.ts';
import {
  type AppliedCut,
  applyCuts,
  expectedChange,
  expectVisibleRows,
  expectRowsAt,
  oneBatch,
  watermarkAt,
} from './sink-suite-steps.ts';
import { valueCases, valueHistory } from './sink-values.ts';

/** A live row as a reader of view `T` sees it; `values` in the order of the table's columns. */
export interface LakeRow {
  readonly values: RowImage;
  readonly seq: PositionText;
  readonly committedAtUs: bigint | null;
}

/** A row of `T__changes`. `values`: after; of a delete the columns that were sent; of a truncate nulls. */
export interface LakeChange {
  readonly values: RowImage;
  readonly op: Change['op'];
  readonly seq: PositionText;
  readonly lsn: bigint;
  readonly xid: bigint | null;
  readonly committedAtUs: bigint | null;
  readonly capturedAtUs: bigint;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly schemaId: number;
  /** Column names. */
  readonly unchanged: readonly string[];
  readonly batchId: string;
}

/** A sink on a lake of its own, and a reader of that lake which sees what any other reader would. */
export interface SinkHarness {
  /** Not opened yet. */
  readonly sink: Sink;
  /** A new owner on the same lake, not opened yet. The sink before it is left as it is: dead or a zombie. */
  reopen(): Promise<Sink>;
  /** Live rows in any order; none for a table that the lake has not heard of. */
  rows(table: TableSchema): Promise<readonly LakeRow[]>;
  /** All appended changes in any order. */
  changes(table: TableSchema): Promise<readonly LakeChange[]>;
  deadLetters(): Promise<readonly DeadLetter[]>;
  /** As a reader sees it; null before the first one. */
  checkpoint(): Promise<Checkpoint | null>;
  /** Steps of `apply` where the sink can be made to die: the next one to reach `step` throws, once. */
  readonly crashSteps: readonly string[];
  crashAt(step: string): void;
  destroy(): Promise<void>;
}

export interface SuiteGap {
  readonly reason: string;
  /** Titles. */
  readonly tests: 'all' | readonly string[];
}

export interface SinkSuiteOptions {
  readonly name: string;
  readonly create: () => Promise<SinkHarness>;
  /** Gaps, each with its reason. */
  readonly skip?: readonly SuiteGap[];
  /** Random histories a property; each has a lake of its own. */
  readonly runs?: number;
  /** Batches of a history, where one takes seconds: they are larger then, and a history that fails is not made smaller. */
  readonly batchesMax?: number;
}

/** What every sink must do. A new sink earns trust by passing this. */
export function runSinkSuite(options: SinkSuiteOptions): void {
  const { name, skip = [] } = options;
  const all = allClaims(options);
  const titles = all.map(({ title }) => title);
  const claims = all.map((claim) => {
    const gap = skip.find(({ tests }) => tests === 'all' || tests.includes(claim.title));
    return { ...claim, reason: gap?.reason };
  });
  const unknown = skip
    .flatMap(({ tests }) => (tests === 'all' ? [] : tests))
    .filter((test) => !titles.includes(test));
  assert(unknown.length === 0, `the suite has no test "${unknown.join('", "')}"`);
  describe(`${name} sink`, () => {
    // As "%s": "$title" would be cut short.
    const titled = claims.map((claim) => [claim.title, claim] as const);
    it.for(titled)('%s', async ([, { body, reason }], { skip: skipTest }) => {
      skipTest(reason !== undefined, reason);
      expect.hasAssertions();
      await body();
    });
  });
}

interface Claim {
  readonly title: string;
  readonly body: () => Promise<void>;
}

function allClaims(options: SinkSuiteOptions): readonly Claim[] {
  const { create, runs = 25, batchesMax } = options;
  const property = (title: string, body: HistoryBody): Claim => {
    const parameters = { numRuns: runs, endOnFailure: batchesMax !== undefined };
    return { title, body: () => fc.assert(historyProperty(options, body), parameters) };
  };
  const claim = (title: string, body: (harness: SinkHarness) => Promise<void>): Claim => {
    return { title, body: () => withHarness(create, body) };
  };
  return [
    property('shows at every published cut exactly the rows of the source', showsSourceRows),
    property('keeps each change once with its origin', keepsChangesOnce),
    property('goes on from its checkpoint after dying at any step', survivesCrashes),
    claim('starts at zero and raises the epoch with every owner', startsAtZero),
    claim('fences the owner before it, which then changes nothing', fencesZombies),
    claim('hides an unpublished cut, and loses it with the process', hidesUnpublished),
    claim('keeps dead letters with their coordinates', keepsDeadLetters),
    claim('works on after it was lent', worksAfterLending),
    claim('takes a truncate as a floor for the rows before it', truncates),
    ...valueCases.map(({ title, column, values }) =>
      claim(`gives back every ${title} as it was`, async (harness) => {
        const history = valueHistory(column, values);
        await applyCuts(harness.sink, history, allCuts(history));
        await expectRowsAt(harness, history, history.cuts.length - 1);
        await expectChanges(harness, history);
      }),
    ),
  ];
}

async function withHarness(
  create: SinkSuiteOptions['create'],
  body: (harness: SinkHarness) => Promise<void>,
): Promise<void> {
  const harness = await create();
  try {
    await body(harness);
  } finally {
    await harness.destroy();
  }
}

interface HistoryCase {
  readonly history: History;
  readonly cuts: readonly AppliedCut[];
  readonly dice: readonly number[];
}
type HistoryBody = (harness: SinkHarness, given: HistoryCase) => Promise<void>;

function historyProperty({ create, batchesMax }: SinkSuiteOptions, body: HistoryBody) {
  const dice = fc.array(fc.nat(9), { minLength: 12, maxLength: 12 });
  const sizeMin = batchesMax === undefined ? 1 : 30;
  return fc.asyncProperty(commandsArbitrary(60, sizeMin), dice, async (commands, rolled) => {
    const history = runHistory(commands);
    const cuts = spaced(randomCuts(history, rolled), batchesMax ?? Infinity);
    await withHarness(create, (harness) => body(harness, { history, cuts, dice: rolled }));
  });
}

/** Some of the transaction ends, the last always, some of them not published. */
function randomCuts(history: History, dice: readonly number[]): readonly AppliedCut[] {
  const last = history.cuts.length - 1;
  const roll = (index: number) => dice[index % dice.length] ?? 0;
  return history.cuts.flatMap((_, index) => {
    if (index === last) return [{ index, publish: true }];
    return roll(index) < 5 ? [{ index, publish: roll(index + 1) > 1 }] : [];
  });
}

/** At most so many of them, the last always. */
function spaced(cuts: readonly AppliedCut[], countMax: number): readonly AppliedCut[] {
  const stride = Math.ceil(cuts.length / countMax);
  return cuts.filter((_, index) => (cuts.length - 1 - index) % Math.max(1, stride) === 0);
}

const allCuts = (history: History): readonly AppliedCut[] =>
  history.cuts.map((_, index) => ({ index, publish: true }));

async function showsSourceRows(harness: SinkHarness, { history, cuts }: HistoryCase) {
  await applyCuts(harness.sink, history, cuts, async (_cut, published) => {
    await expectVisibleRows(harness, history, published);
  });
}

async function keepsChangesOnce(harness: SinkHarness, { history, cuts }: HistoryCase) {
  await applyCuts(harness.sink, history, cuts);
  await expectChanges(harness, history);
  // A new owner is given nothing that it has.
  await applyCuts(await harness.reopen(), history, cuts);
  await expectChanges(harness, history);
}

async function survivesCrashes(harness: SinkHarness, { history, cuts, dice }: HistoryCase) {
  let { sink } = harness;
  for (const die of dice.slice(0, 4)) {
    const step = harness.crashSteps[die % Math.max(1, harness.crashSteps.length)];
    let left = die % Math.max(1, cuts.length - 1);
    await applyCuts(sink, history, cuts, async () => {
      if (left === 0 && step !== undefined) harness.crashAt(step);
      left -= 1;
    }).catch(() => {});
    const stored = await harness.checkpoint();
    const applied = stored?.applied ?? positionZero;
    await expectVisibleRows(harness, history, applied);
    sink = await harness.reopen();
  }
  await applyCuts(sink, history, cuts);
  await expectRowsAt(harness, history, history.cuts.length - 1);
  await expectChanges(harness, history);
}

async function expectChanges(harness: SinkHarness, history: History) {
  const [last] = history.cuts.slice(-1);
  for (const { table, topic } of last?.versions ?? []) {
    const wanted = history.changes.filter((change) => change.topic === topic);
    const stored = await harness.changes(table);
    const bySeq = stored.toSorted((a, b) => (a.seq < b.seq ? -1 : 1));
    expect(bySeq.map(({ batchId, ...rest }) => (batchId === '' ? {} : rest))).toEqual(
      wanted.map((change) => expectedChange(change, table)),
    );
  }
}

const threeInserts = () =>
  runHistory(
    [0, 1, 2].map((pick) => ({
      table: 'items',
      what: 'insert',
      pick,
      value: pick,
      keepsToast: false,
      endsTransaction: pick < 2,
    })),
  );

async function startsAtZero(harness: SinkHarness) {
  const first = await harness.sink.open();
  expect(first).toMatchObject({ applied: positionZero, watermarkOffset: 0, offsets: {} });
  await harness.sink.close();
  const second = await (await harness.reopen()).open();
  expect(second.epoch).toBeGreaterThan(first.epoch);
}

async function fencesZombies(harness: SinkHarness) {
  const history = threeInserts();
  const zombie = harness.sink;
  const checkpoint = await applyCuts(zombie, history, [{ index: 0, publish: true }]);
  const owner = await harness.reopen();
  await owner.open();
  const late = oneBatch(history, checkpoint, { index: 1, publish: true });
  await expect(zombie.apply(late)).rejects.toMatchObject({ kind: 'sink-fenced' });
  await expectRowsAt(harness, history, 0);
  expect((await harness.checkpoint())?.applied).toBe(history.cuts[0]?.cut);
  await owner.close();
}

async function hidesUnpublished(harness: SinkHarness) {
  const history = threeInserts();
  const cuts = [
    { index: 0, publish: true },
    { index: 1, publish: false },
  ];
  await applyCuts(harness.sink, history, cuts);
  await expectRowsAt(harness, history, 0);
  for (const { table } of history.cuts[0]?.versions ?? []) {
    const seqs = (await harness.changes(table)).map(({ seq }) => seq);
    expect(seqs.filter((seq) => seq > (history.cuts[0]?.cut ?? ''))).toEqual([]);
  }
  const owner = await harness.reopen();
  const { applied } = await owner.open();
  // A sink may also keep it, hidden; then its checkpoint says so to the next owner.
  expect([history.cuts[0]?.cut, history.cuts[1]?.cut]).toContain(applied);
  await expectRowsAt(harness, history, 0);
  await applyCuts(owner, history, allCuts(history));
  await expectRowsAt(harness, history, 2);
  await expectChanges(harness, history);
}

async function keepsDeadLetters(harness: SinkHarness) {
  const history = threeInserts();
  const checkpoint = await harness.sink.open();
  const place = { topic: 'app.public.items', partition: 1, seq: null, reason: 'cut short' };
  const letters: DeadLetter[] = [
    { ...place, offset: 7, key: Buffer.from('key'), value: Buffer.from([0, 255]) },
    { ...place, offset: 8, key: null, value: null, seq: history.cuts[0]?.cut ?? null },
  ];
  const cut = watermarkAt(history, { index: 0, publish: true });
  const after = { ...checkpoint, applied: cut.cut };
  const batch = { id: 'letters', cut, checkpoint: after, tables: [], deadLetters: letters };
  await harness.sink.apply(batch);
  const stored = await harness.deadLetters();
  const bytes = (value: Uint8Array | null) => (value === null ? null : [...value]);
  const plain = (letter: DeadLetter) => ({
    ...letter,
    key: bytes(letter.key),
    value: bytes(letter.value),
  });
  const sorted = stored.toSorted((a, b) => a.offset - b.offset);
  expect(sorted.map(plain)).toEqual(letters.map(plain));
}

async function worksAfterLending(harness: SinkHarness) {
  const history = threeInserts();
  await applyCuts(harness.sink, history, [{ index: 0, publish: true }]);
  let checkpoint = await harness.checkpoint();
  expect(await harness.sink.lend(async () => 'used')).toBe('used');
  for (const index of [1, 2]) {
    if (checkpoint === null) throw new Error('the sink has a checkpoint after a published cut');
    const batch = oneBatch(history, checkpoint, { index, publish: true });
    await harness.sink.apply(batch);
    checkpoint = batch.checkpoint;
  }
  await expectRowsAt(harness, history, 2);
  const refused = harness.sink.lend(async () => Promise.reject(new Error('the borrower failed')));
  await expect(refused).rejects.toThrow('the borrower failed');
  await expectRowsAt(harness, history, 2);
}

async function truncates(harness: SinkHarness) {
  const plain = { pick: 0, value: 0, keepsToast: false, endsTransaction: true } as const;
  const both = ['items', 'audit'] as const;
  const history = runHistory(
    both.flatMap((table) => [
      { ...plain, table, what: 'insert' },
      { ...plain, table, what: 'insert', pick: 1 },
      { ...plain, table, what: 'truncate' },
      { ...plain, table, what: 'insert', pick: 2 },
    ]),
  );
  await applyCuts(harness.sink, history, allCuts(history), async ({ index }) => {
    await expectRowsAt(harness, history, index);
  });
  const [items] = history.cuts.at(-1)?.versions ?? [];
  if (items === undefined) throw new Error('the history has tables');
  const rows = await harness.rows(items.table);
  expect(sortedIdentities(rows.map((row) => row.values))).toHaveLength(1);
}
