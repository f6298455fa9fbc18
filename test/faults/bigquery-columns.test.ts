import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatLsn } from '../../schemas/lsn.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';
import { columnsIdentity, rowIdentity } from '../../schemas/value-identity.ts';
import { bigquerySinkSteps } from '../../sinks/bigquery/bigquery-sink.ts';
import type { ColumnPolicy } from '../../sinks/bigquery/column-policy.ts';
import type { Checkpoint } from '../../sinks/sink.ts';
import {
  commandsArbitrary,
  type History,
  runHistory,
  sortedIdentities,
} from '../conformance/sink-history.ts';
import { type LogAndLake, openSharedLog, type SharedLog } from '../integration/run-sink-harness.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import type { BigqueryHarness } from '../support/bigquery-harness.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';
import { documentOf, isUnfit, sourceRows, withDocuments } from '../support/unfit-documents.ts';

const fake = await FakeBigQuery.start();
let shared: SharedLog;
beforeAll(async () => {
  shared = await openSharedLog();
});
afterAll(async () => {
  await shared[Symbol.asyncDispose]();
  await fake[Symbol.asyncDispose]();
});

const strict: ColumnPolicy = { json: 'json', unfit: 'dead_letter' };
const ways = [
  ['batch', { mode: 'batch' }],
  ['batch, small ones', { mode: 'batch', inlineTableBytesMax: 64 << 10 }],
  ['stream', { mode: 'stream' }],
  ['bigquery-cdc', { mode: 'bigquery-cdc' }],
] as const;
type Way = (typeof ways)[number][1];

interface Loading {
  readonly harness: BigqueryHarness;
  readonly given: LogAndLake;
  /** Writes transactions up to one of them, and a watermark. */
  readonly write: (index: number) => Promise<void>;
  /** One owner loads up to there; false when it died on the way. */
  readonly load: (index: number, step?: string | null) => Promise<boolean>;
}

async function withLake(
  history: History,
  settings: Way & { readonly policyOf?: () => ColumnPolicy; readonly policyText?: string },
  body: (loading: Loading) => Promise<void>,
): Promise<void> {
  const given = await shared.fresh();
  const harness = await fakeBigqueryHarness(fake, () => ({ policyOf: () => strict, ...settings }));
  let written = 0;
  const cutAt = (index: number) => {
    const cut = history.cuts[index];
    if (cut === undefined) throw new Error(`the history has no cut ${index}`);
    return cut;
  };
  const write = async (index: number) => {
    const { cut, lsn } = cutAt(index);
    const changes = history.changes.filter(({ seq }) => seq <= cut);
    await given.changeLog.write(changes.slice(written));
    written = changes.length;
    await given.changeLog.watermark({ cut, lsn: formatLsn(lsn) });
  };
  const load = async (index: number, step: string | null = null) => {
    const stored = await harness.checkpoint();
    if (stored !== null && stored.applied >= cutAt(index).cut) return true;
    // What was ordered for an owner that did not get there is not for this one.
    harness.crashAt(step ?? 'never');
    const sink = await harness.reopen();
    const batchRowsMax = 3;
    try {
      await given.loadUpTo(cutAt(index).cut, { sink, limits: { batchRowsMax } });
      return true;
    } catch (error) {
      if (error instanceof Error && error.message === `died at ${step}`) return false;
      throw error;
    }
  };
  try {
    await body({ harness, given, write, load });
  } finally {
    await harness.destroy();
  }
}

/** Everything that is promised of a lake with dead letters. */
async function expectPromises(history: History, { harness, given }: Loading): Promise<void> {
  const letters = await harness.deadLetters();
  // A version that came with a dead letter only is taken with the next batch.
  const lost = new Set(letters.map(({ seq }) => seq));
  const taken = history.changes.filter(({ seq }) => !lost.has(seq));
  const versions = new Map(taken.map(({ topic, version }) => [topic, version]));
  for (const version of versions.values()) {
    const topic = given.changeLog.topicOf(version.table.name);
    const refused = letters.filter((letter) => letter.topic === topic);
    const seqs = refused.map(({ seq }) => String(seq));
    await expectEachOnce(history, version, { harness, refused: seqs });
    if (version.table.key.length === 0) await expectMultiset(history, version, harness);
    else await expectWholeRows(history, version, { harness, refused: seqs });
    for (const { reason, key, value } of refused) {
      expect(reason).toMatch(/^unfit: /);
      expect(value).not.toBeNull();
      expect(key === null).toBe(version.table.key.length === 0);
    }
  }
}

interface Kept {
  readonly harness: BigqueryHarness;
  /** Positions of the table's dead letters. */
  readonly refused: readonly string[];
}

/** Each change is in `T__changes` or a dead letter, once. */
async function expectEachOnce(history: History, version: TableVersion, { harness, refused }: Kept) {
  const { table, topic } = version;
  const changes = history.changes.filter((change) => change.topic === topic);
  const stored = await harness.changes(table);
  // Of a row without a key the old image still has to go.
  const halves = stored.filter(({ op, seq }) => op === 'd' && refused.includes(seq));
  const whole = stored.filter((change) => !halves.includes(change));
  const all = [...whole.map(({ seq }) => seq), ...refused].toSorted();
  expect(all).toEqual(changes.map(({ seq }) => seq));
  expect(table.key.length === 0 || halves.length === 0).toBe(true);
}

async function expectMultiset(history: History, { table }: TableVersion, harness: BigqueryHarness) {
  const source = history.cuts.at(-1)?.rows.get(table.name) ?? [];
  const rows = await harness.rows(table);
  expect(sortedIdentities(rows.map(({ values }) => values))).toEqual(
    sortedIdentities(source.filter((row) => !row.some(isUnfit))),
  );
}

/** A row is the source's of one position, and of the newest unless that one is a dead letter. */
async function expectWholeRows(
  history: History,
  version: TableVersion,
  { harness, refused }: Kept,
) {
  const { table, topic } = version;
  const key = table.key.map((name) => table.columns.findIndex((one) => one.name === name));
  const stored = await harness.rows(table);
  const lake = new Map(stored.map((row) => [columnsIdentity(row.values, key), row]));
  const everything = [...sourceRows(history, topic)];
  const newest = new Map(everything.map((row) => [row.key, row]));
  for (const [identity, { seq, values }] of lake) {
    const source = everything.find((row) => row.seq === seq && row.key === identity);
    // The column that came later reads its constant.
    const image = [...(source?.image ?? []), 7].slice(0, values.length);
    expect(rowIdentity(values)).toBe(rowIdentity(image));
  }
  for (const [identity, { seq, image }] of newest) {
    if (refused.includes(seq)) expect(image).not.toBeNull();
    else expect(lake.get(identity)?.seq ?? null).toBe(image === null ? null : seq);
  }
  for (const { key: identity, seq, image } of everything) {
    if (image?.some(isUnfit) === true) expect(refused, String(identity)).toContain(seq);
  }
}

const values = Array.from({ length: 100 }, (_, value) => value);
const isUnfitValue = (value: number) => isUnfit(documentOf(`{"n":${value}}`));
const fits = values.find((value) => !isUnfitValue(value)) ?? 0;
const unfit = values.find(isUnfitValue) ?? 0;

describe.for(ways)('dead letters of unfit values, %s', ([, way]) => {
  it('are remembered by every owner, until the row has come whole', async () => {
    const one = { table: 'pairs', pick: 0, keepsToast: false, endsTransaction: true } as const;
    const steps = [
      [{ ...one, what: 'insert', value: fits }, 0],
      [{ ...one, what: 'update', value: unfit }, 1],
      [{ ...one, what: 'update', value: fits, keepsToast: true }, 2],
      [{ ...one, what: 'update', value: fits }, 2],
      [{ ...one, what: 'update', value: unfit, keepsToast: true }, 2],
    ] as const;
    const history = withDocuments(runHistory(steps.map(([command]) => command)));
    await withLake(history, way, async (loading) => {
      for (const [index, [, letterCount]] of steps.entries()) {
        await loading.write(index);
        expect(await loading.load(index)).toBe(true);
        expect(await loading.harness.deadLetters()).toHaveLength(letterCount);
      }
      await expectPromises(history, loading);
    });
  });

  it('keep every promise, whatever happens to rows and owners', async () => {
    expect.hasAssertions();
    const endings = fc.array(
      fc.record({
        index: fc.nat(10),
        step: fc.option(fc.constantFrom(...bigquerySinkSteps)),
      }),
      { maxLength: 4 },
    );
    await fc.assert(
      fc.asyncProperty(commandsArbitrary(40), endings, async (commands, ends) => {
        const history = withDocuments(runHistory(commands));
        const last = history.cuts.length - 1;
        await withLake(history, way, async (loading) => {
          const stops = ends.map(({ index, step }) => ({ index: index % (last + 1), step }));
          for (const { index, step } of stops.toSorted((a, b) => a.index - b.index)) {
            await loading.write(index);
            await loading.load(index, step);
          }
          await loading.write(last);
          expect(await loading.load(last)).toBe(true);
          await expectPromises(history, loading);
        });
      }),
      { numRuns: 6 },
    );
  });
});

describe.each([
  ['stream', 'exact_text', 'dead_letter'],
  ['stream', 'dead_letter', 'exact_text'],
  ['bigquery-cdc', 'exact_text', 'dead_letter'],
  ['bigquery-cdc', 'dead_letter', 'exact_text'],
] as const)('mode %s, unfit: %s and then %s', (mode, before, after) => {
  it('is refused while streamed changes wait for their checkpoint, and taken afterwards', async () => {
    const one = { table: 'pairs', keepsToast: false, endsTransaction: true } as const;
    const commands = [
      { ...one, pick: 0, what: 'insert', value: fits },
      { ...one, pick: 0, what: 'update', value: unfit },
      { ...one, pick: 1, what: 'insert', value: fits },
    ] as const;
    const history = withDocuments(runHistory(commands));
    const last = history.cuts.length - 1;
    let policy: ColumnPolicy = { json: 'json', unfit: before };
    const settings = {
      mode,
      policyOf: () => policy,
      get policyText() {
        return policy.unfit;
      },
    };
    await withLake(history, settings, async ({ harness, write, load }) => {
      await write(last);
      expect(await load(last, 'before-commit')).toBe(false);
      policy = { json: 'json', unfit: after };
      const refused = { kind: 'sink-refused', hint: expect.stringContaining('columns back') };
      await expect(load(last)).rejects.toMatchObject(refused);
      // The owner that was refused has left everything as it was for the one after it.
      await expect(load(last)).rejects.toMatchObject(refused);
      policy = { json: 'json', unfit: before };
      expect(await load(last)).toBe(true);
      expect(await harness.deadLetters()).toHaveLength(before === 'dead_letter' ? 1 : 0);
      policy = { json: 'json', unfit: after };
      await using sink = await opened(harness);
      expect(sink.applied).toBe(history.cuts.at(-1)?.cut);
    });
  });
});

async function opened(harness: BigqueryHarness): Promise<Checkpoint & AsyncDisposable> {
  const sink = await harness.reopen();
  return { ...(await sink.open()), [Symbol.asyncDispose]: () => sink.close() };
}
