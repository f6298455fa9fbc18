import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { BigQueryMode } from '../../sinks/bigquery/permissions.ts';
import { commandsArbitrary, type History, runHistory } from '../conformance/sink-history.ts';
import {
  type AppliedCut,
  applyCuts,
  expectedChange,
  expectRowsAt,
} from '../conformance/sink-suite-steps.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import type { BigqueryHarness } from '../support/bigquery-harness.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

const modes = ['batch', 'stream', 'bigquery-cdc'] as const;
const writing = ['stream', 'bigquery-cdc'] as const;

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

/** What happens to one owner after some cuts. */
interface Ending {
  readonly mode: BigQueryMode;
  readonly cuts: number;
  /** The step of `apply` at which it dies; null: another owner takes over while it goes on. */
  readonly step: string | null;
  /** Every how many cuts it publishes. */
  readonly publishes: number;
}

const steps = ['begun', 'appended', 'written', 'staged', 'before-commit', 'after-commit'] as const;
const endings = (mode: fc.Arbitrary<BigQueryMode>) =>
  fc.array(
    fc.record<Ending>({
      mode,
      cuts: fc.nat(3),
      step: fc.constantFrom(...steps, 'written', null, null),
      publishes: fc.integer({ min: 1, max: 3 }),
    }),
    { minLength: 1, maxLength: 5 },
  );

const cutsOf = (history: History, publishes: number): readonly AppliedCut[] =>
  history.cuts.map((_, index) => ({ index, publish: index % publishes === 0 }));

/** Owners come and go, dying or replaced, and the last one loads what is left. */
async function loadThrough(harness: BigqueryHarness, history: History, given: readonly Ending[]) {
  const zombies: Promise<unknown>[] = [];
  for (const { cuts, step, publishes } of given) {
    const sink = await harness.reopen();
    const reached = Promise.withResolvers<void>();
    let left = cuts;
    const run = applyCuts(sink, history, cutsOf(history, publishes), async () => {
      left -= 1;
      if (left < 0) reached.resolve();
      if (left < 0 && step !== null) harness.crashAt(step);
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
    if (attempt > 2 * given.length + 2) throw failure;
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
          return given[owner % given.length]?.mode ?? 'stream';
        });
        try {
          await loadThrough(harness, history, given);
          await expectRowsAt(harness, history, history.cuts.length - 1);
          await expectChangesOnce(harness, history);
        } finally {
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
        const harness = await fakeBigqueryHarness(fake, () => 'bigquery-cdc');
        try {
          await applyCuts(harness.sink, history, cutsOf(history, 1), ({ index }) =>
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
    const harness = await fakeBigqueryHarness(fake, () => 'stream');
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
});
