import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { positionZero } from '../../schemas/position.ts';
import { commandsArbitrary, type History, runHistory } from '../conformance/sink-history.ts';
import type { SinkHarness } from '../conformance/sink-suite.ts';
import {
  applyCuts,
  expectedChange,
  expectVisibleRows,
  expectRowsAt,
} from '../conformance/sink-suite-steps.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import type { FaultRule } from '../support/bigquery/faults.ts';
import { fakeBigqueryHarness } from '../support/fake-bigquery-harness.ts';

const fake = await FakeBigQuery.start();
afterAll(() => fake[Symbol.asyncDispose]());

/** What goes wrong with one batch. The script is the transaction that applies it. */
const faults: Readonly<Record<string, Omit<FaultRule, 'times'>>> = {
  'the reply of the transaction is lost': {
    sql: /begin transaction/i,
    fault: { kind: 'reset', when: 'after' },
  },
  'the transaction never arrives': {
    sql: /begin transaction/i,
    fault: { kind: 'reset', when: 'before' },
  },
  'the transaction is told as failed although it went through': {
    sql: /begin transaction/i,
    fault: { kind: 'error', when: 'after', reason: 'backendError' },
  },
  'another transaction was quicker': {
    sql: /begin transaction/i,
    fault: {
      kind: 'job-error',
      error: { reason: 'invalidQuery', message: 'Transaction is aborted due to concurrent update' },
    },
  },
  'the service is away for a moment': {
    sql: /begin transaction/i,
    fault: { kind: 'error', when: 'before', reason: 'backendError' },
  },
  'the token has expired': {
    sql: /begin transaction/i,
    fault: { kind: 'error', when: 'before', reason: 'authError' },
  },
  'the reply of a load is lost': { jobKind: 'load', fault: { kind: 'reset', when: 'after' } },
  'a load is refused for its rate': {
    jobKind: 'load',
    fault: { kind: 'error', when: 'before', reason: 'rateLimitExceeded' },
  },
  'a load ends with an error of the service': {
    jobKind: 'load',
    fault: { kind: 'job-error', error: { reason: 'backendError', message: 'try again' } },
  },
  'the quota of loads is used up': {
    jobKind: 'load',
    fault: { kind: 'error', when: 'before', reason: 'quotaExceeded' },
  },
};
const names = Object.keys(faults);

/** Each change once, with its place on the log. */
async function expectChangesOnce(harness: SinkHarness, history: History): Promise<void> {
  for (const { table, topic } of history.cuts.at(-1)?.versions ?? []) {
    const stored = (await harness.changes(table)).toSorted((a, b) => (a.seq < b.seq ? -1 : 1));
    const wanted = history.changes.filter((change) => change.topic === topic);
    expect(stored.map(({ batchId, ...rest }) => (batchId === '' ? {} : rest))).toEqual(
      wanted.map((change) => expectedChange(change, table)),
    );
  }
}

/** Loads all of it, with a new owner after each failure; the faults strike one after the other. */
async function loadAll(harness: SinkHarness, history: History, wrong: readonly FaultRule[]) {
  const cuts = history.cuts.map((_, index) => ({ index, publish: index % 3 !== 1 }));
  const left = [...wrong];
  let { sink } = harness;
  for (let owners = 0; owners <= 3 * wrong.length + 1; owners += 1) {
    const next = () => {
      const rule = left.shift();
      if (rule !== undefined) fake.faults.add(rule);
    };
    next();
    const failure: unknown = await applyCuts(sink, history, cuts, async () => next()).then(
      () => null,
      (error: unknown) => error,
    );
    const applied = (await harness.checkpoint())?.applied ?? positionZero;
    await expectVisibleRows(harness, history, applied);
    if (failure === null) return;
    sink = await harness.reopen();
  }
  throw new Error('the lake was not loaded');
}

/** The last cut may be hidden; a new owner publishes it, however many of the faults strike only now. */
async function publishLast(harness: SinkHarness, history: History): Promise<void> {
  const last = { index: history.cuts.length - 1, publish: true };
  for (;;) {
    const before = fake.faults.left;
    const failure: unknown = await applyCuts(await harness.reopen(), history, [last]).then(
      () => null,
      (error: unknown) => error,
    );
    if (failure === null) return;
    // A failure that no fault explains is one of the sink.
    if (fake.faults.left === before) throw failure;
  }
}

it('whatever goes wrong with the service, rows are the source’s and each change is there once', async () => {
  expect.hasAssertions();
  const wrong = fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(commandsArbitrary(40), wrong, async (commands, kinds) => {
      const history = runHistory([...commands]);
      if (history.cuts.length === 0) return;
      const harness = await fakeBigqueryHarness(fake);
      try {
        await loadAll(
          harness,
          history,
          kinds.map((kind) => faults[kind]!),
        );
        const last = history.cuts.length - 1;
        await publishLast(harness, history);
        await expectRowsAt(harness, history, last);
        await expectChangesOnce(harness, history);
      } finally {
        await harness.destroy();
      }
    }),
    { numRuns: 8 },
  );
});
