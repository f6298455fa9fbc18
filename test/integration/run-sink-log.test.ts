import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PipelineError } from '../../runtime/errors.ts';
import { headerSeq } from '../../schemas/control.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import type { MemoryLake } from '../../sinks/memory/client.ts';
import type { BatchReport } from '../../sinks/run-sink.ts';
import { transactionOf } from '../../sinks/batch.ts';
import { MemorySink } from '../../sinks/memory/sink.ts';
import {
  type Command,
  commandsArbitrary,
  type History,
  runHistory,
} from '../conformance/sink-history.ts';
import { partitionCount } from '../support/change-log.ts';
import {
  appendedPositions,
  failingSink,
  lakeAndSource,
  type LogAndLake,
  openSharedLog,
  type SharedLog,
} from './run-sink-harness.ts';

const away = () => new PipelineError('sink-failed', 'the warehouse is away');

/** Each command a transaction of its own. */
const transactions = (...commands: readonly Partial<Command>[]): History =>
  runHistory(
    commands.map((command, index) => ({
      table: 'items',
      what: 'insert',
      pick: index,
      value: index,
      keepsToast: false,
      endsTransaction: index < commands.length - 1,
      ...command,
    })),
  );
const inserts = (count: number) => transactions(...Array.from({ length: count }, () => ({})));

const cutOf = (history: History, index: number) => {
  const cut = history.cuts.at(index);
  if (cut === undefined) throw new Error(`the history has no cut ${index}`);
  return { cut: cut.cut, lsn: formatLsn(cut.lsn) };
};
const lastCut = (history: History) => cutOf(history, -1);

/** The changes of transactions `from` to `to`, both included. */
function changesOf(history: History, from: number, to: number) {
  const floor = from === 0 ? '' : cutOf(history, from - 1).cut;
  const { cut } = cutOf(history, to);
  return history.changes.filter(({ seq }) => floor < seq && seq <= cut);
}

let shared: SharedLog;
beforeAll(async () => {
  shared = await openSharedLog();
});
afterAll(() => shared[Symbol.asyncDispose]());

const withLog = async (body: (given: LogAndLake) => Promise<void>) => body(await shared.fresh());

describe('runSink on the embedded log', () => {
  it('shows the rows of the source at every published cut, within any limits, whatever fails', async () => {
    const cases = fc.record({
      commands: commandsArbitrary(40),
      dice: fc.array(fc.nat(5), { minLength: 8, maxLength: 8 }),
      failures: fc.array(fc.nat(9), { maxLength: 3 }),
      batchRowsMax: fc.constantFrom(1, 5, 1000),
      batchBytesMax: fc.constantFrom(1, 1500, 1 << 20),
      readBytesMax: fc.constantFrom(1, 1000, 64 << 10),
    });
    await fc.assert(
      fc.asyncProperty(cases, ({ commands, dice, failures, ...limits }) =>
        withLog(async ({ changeLog, lake, loadUpTo }) => {
          const history = runHistory(commands);
          let written = 0;
          for (const index of history.cuts.keys()) {
            const die = dice[index % dice.length] ?? 0;
            const isLast = index === history.cuts.length - 1;
            if (!isLast && die === 0) continue;
            await changeLog.write(changesOf(history, written, index));
            written = index + 1;
            await changeLog.watermark({
              ...cutOf(history, index),
              publish: isLast || die > 1,
              full: die > 3,
            });
          }
          const seen: unknown[] = [];
          const onApplied = ({ batch }: BatchReport) => {
            // What is published ends with a transaction, and that one says what readers must see.
            const applied = transactionOf(batch.checkpoint.applied);
            const index = history.cuts.findLastIndex(({ cut }) => transactionOf(cut) <= applied);
            const wanted =
              index < 0 ? { lake: [], source: [] } : lakeAndSource(lake, history, index);
            if (batch.cut.publish) seen.push(wanted);
          };
          const sink = failingSink(new MemorySink(lake), failures, away);
          await loadUpTo(lastCut(history).cut, {
            sink,
            limits: { ...limits, firstRetryMs: 1 },
            observer: { onApplied },
          });
          for (const state of seen as { lake: unknown; source: unknown }[]) {
            expect(state.lake).toEqual(state.source);
          }
          expectSourceAt(lake, history, history.cuts.length - 1);
          expect(appendedPositions(lake)).toEqual(history.changes.map((change) => change.seq));
        }),
      ),
      { numRuns: 60 },
    );
  });

  it('holds records above the cut back until a watermark covers them', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = inserts(4);
      await changeLog.write(history.changes);
      // Ends beyond the cut: the records above it wait although they are below the ends.
      await changeLog.watermark(cutOf(history, 1));
      await loadUpTo(cutOf(history, 1).cut);
      expectSourceAt(lake, history, 1);
      expect(appendedPositions(lake)).toHaveLength(2);
      // A new run begins at the checkpoint and finds them again.
      await changeLog.watermark({ ...lastCut(history), full: false });
      await loadUpTo(lastCut(history).cut);
      expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
    }));

  it('drops records that were written twice, in one batch and in later ones', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = inserts(4);
      await changeLog.write(changesOf(history, 0, 1));
      await changeLog.write(changesOf(history, 0, 1));
      await changeLog.watermark(cutOf(history, 1));
      await loadUpTo(cutOf(history, 1).cut);
      await changeLog.write(history.changes);
      await changeLog.watermark(lastCut(history));
      await loadUpTo(lastCut(history).cut);
      expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
    }));

  it('opens the sink again after a passing failure and goes on from its checkpoint', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = inserts(6);
      for (const index of history.cuts.keys()) {
        await changeLog.write(changesOf(history, index, index));
        await changeLog.watermark(cutOf(history, index));
      }
      const epochs: number[] = [];
      const sink = failingSink(new MemorySink(lake), [1, 3], away);
      await loadUpTo(lastCut(history).cut, {
        sink,
        limits: { batchRowsMax: 1, firstRetryMs: 1 },
        observer: { onOpened: ({ epoch }) => epochs.push(epoch) },
      });
      expect(epochs).toEqual([1, 2, 3]);
      expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
    }));

  it('keeps the halves of a key change together when the bytes end between them', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      // There and back, so that both keys lie in one partition.
      const history = transactions({}, { what: 'move', pick: 13 }, { what: 'move', pick: 0 });
      await changeLog.write(history.changes);
      await changeLog.watermark(lastCut(history));
      await loadUpTo(lastCut(history).cut, { limits: { batchBytesMax: 1, readBytesMax: 1 } });
      expectSourceAt(lake, history, 2);
      expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
    }));

  it('takes no change twice when it dies between the steps of a schema change', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = transactions({}, {}, { what: 'add-column' }, {});
      await changeLog.write(history.changes);
      await changeLog.watermark(lastCut(history));
      const sink = failingSink(new MemorySink(lake), [1], away);
      const reports = await loadUpTo(lastCut(history).cut, { sink, limits: { firstRetryMs: 1 } });
      expect(reports.map(({ batch }) => batch.tables.map((table) => table.changes.length))).toEqual(
        [[2], [2]],
      );
      expectSourceAt(lake, history, 3);
      expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
    }));

  it('shows a cut that was applied unseen once a watermark publishes it', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = inserts(2);
      await changeLog.write(history.changes);
      await changeLog.watermark({ ...lastCut(history), publish: false });
      const onApplied = ({ batch }: BatchReport) => {
        if (!batch.cut.publish) void changeLog.watermark({ ...lastCut(history), full: false });
      };
      await loadUpTo(lastCut(history).cut, { observer: { onApplied } });
      expect(lakeAndSource(lake, history, 1).lake).toEqual(lakeAndSource(lake, history, 1).source);
    }));

  it('stops for good when another owner took over', () =>
    withLog(async ({ changeLog, lake, load, loadUpTo }) => {
      const history = inserts(2);
      await changeLog.write(changesOf(history, 0, 0));
      await changeLog.watermark(cutOf(history, 0));
      const never = new AbortController();
      const opened = Promise.withResolvers<undefined>();
      const onApplied = () => opened.resolve(undefined);
      const zombie = load({ observer: { onApplied } }, never.signal);
      await opened.promise;
      await new MemorySink(lake).open();
      await changeLog.write(changesOf(history, 1, 1));
      await changeLog.watermark(lastCut(history));
      await expect(zombie).rejects.toMatchObject({ kind: 'sink-fenced' });
      await loadUpTo(lastCut(history).cut);
      expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
    }));

  it('keeps what cannot be decoded as dead letters and goes on', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = inserts(3);
      await changeLog.write(changesOf(history, 0, 0));
      const [version] = changeLog.versions.values();
      const frame = Buffer.alloc(6);
      frame.writeInt32BE(version?.valueSchemaId ?? 0, 1);
      const seq = Buffer.from(`${cutOf(history, 0).cut.slice(0, 21)}/0000FFFF/0`);
      const record = { key: Buffer.from('k'), value: frame, timestampMs: 1 };
      const place = { topic: changeLog.topicOf('items'), partition: 1 };
      await changeLog.append([
        { ...place, records: [{ ...record, headers: [[headerSeq, seq]] }] },
        { ...place, records: [{ ...record, headers: [] }] },
      ]);
      await changeLog.write(changesOf(history, 1, 2));
      await changeLog.watermark(lastCut(history));
      await loadUpTo(lastCut(history).cut, { limits: { batchBytesMax: 1, readBytesMax: 1 } });
      expectSourceAt(lake, history, 2);
      expect(lake.content.deadLetters).toHaveLength(2);
      expect(new Set(lake.content.deadLetters.map((letter) => letter.seq))).toEqual(
        new Set([seq.toString(), null]),
      );
    }));

  it('applies exactly up to the position asked for, lends the lake there, then goes on', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = inserts(5);
      await changeLog.write(history.changes);
      await changeLog.watermark(lastCut(history));
      const until = cutOf(history, 2).cut;
      const lent: unknown[] = [];
      let isAsked = true;
      await loadUpTo(lastCut(history).cut, {
        pause: {
          requested: () => (isAsked ? { until } : null),
          run: async (applied) => {
            isAsked = false;
            lent.push(applied, lakeAndSource(lake, history, 2).lake);
          },
        },
      });
      expect(lent).toEqual([until, lakeAndSource(lake, history, 2).source]);
      expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
    }));

  it('goes on with the log between two loans, however often it is asked for the lake', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = inserts(3);
      await changeLog.write(history.changes);
      await changeLog.watermark(lastCut(history));
      let lent = 0;
      await loadUpTo(lastCut(history).cut, {
        pause: {
          requested: () => ({ until: null }),
          run: async () => void (lent += 1),
        },
      });
      expect(lent).toBeGreaterThan(0);
      expectSourceAt(lake, history, 2);
    }));

  it('does not lend what is applied and not published yet', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = inserts(3);
      await changeLog.write(history.changes);
      await changeLog.watermark({ ...lastCut(history), publish: false });
      let isHidden: boolean | null = null;
      let lent = 0;
      await loadUpTo(lastCut(history).cut, {
        observer: {
          onApplied: ({ batch }) => {
            isHidden = !batch.cut.publish;
            if (isHidden) void changeLog.watermark({ ...lastCut(history), full: false });
          },
        },
        pause: {
          // Asked for as soon as something is applied, until it is granted.
          requested: () => (isHidden !== null && lent === 0 ? { until: null } : null),
          run: async () => {
            lent += 1;
            expect(isHidden).toBe(false);
            expectSourceAt(lake, history, 2);
          },
        },
      });
      // The run ends with the published cut, so it may end before it lends.
      expect(lent).toBeLessThanOrEqual(1);
      expect(isHidden).toBe(false);
    }));

  it('waits as long as the sink says, unless a position is asked for or the run ends', () =>
    withLog(async ({ changeLog, lake, load }) => {
      const history = inserts(4);
      const stop = new AbortController();
      const sink = Object.assign(new MemorySink(lake), { pauseMs: () => 3_600_000 });
      const applied: string[] = [];
      const until = cutOf(history, 2).cut;
      await changeLog.write(changesOf(history, 0, 1));
      await changeLog.watermark(cutOf(history, 1));
      const later = async () => {
        await changeLog.write(changesOf(history, 2, 3));
        await changeLog.watermark(cutOf(history, 3));
      };
      let written: Promise<void> | null = null;
      let [isAsked, hasLent, rounds] = [false, false, 0];
      await load(
        {
          sink,
          limits: { idleWaitMs: 5 },
          observer: {
            onApplied: ({ batch }) => {
              applied.push(batch.checkpoint.applied);
              written ??= later().then(() => void (isAsked = true));
            },
          },
          pause: {
            requested: () => {
              // What is above the position waits again: only the signal ends it.
              if (hasLent) rounds += 1;
              if (rounds === 3) stop.abort();
              return isAsked ? { until } : null;
            },
            run: async () => {
              [isAsked, hasLent] = [false, true];
            },
          },
        },
        stop.signal,
      );
      expect(applied).toEqual([cutOf(history, 1).cut, until]);
    }));

  it('loads a table from its beginning when the sink takes it in later', () =>
    withLog(async ({ changeLog, lake, loadUpTo }) => {
      const history = transactions({}, { table: 'pairs' }, { table: 'pairs', pick: 1 }, {}, {});
      await changeLog.write(changesOf(history, 0, 3));
      await changeLog.watermark(cutOf(history, 3));
      await loadUpTo(cutOf(history, 3).cut, { wants: (table) => table === 'public.items' });
      await changeLog.write(changesOf(history, 4, 4));
      await changeLog.watermark({ ...lastCut(history), full: false });
      await loadUpTo(lastCut(history).cut);
      expectSourceAt(lake, history, 4);
      expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
    }));

  it('stops when a watermark vouches for records that the log does not have', () =>
    withLog(async ({ changeLog, loadUpTo }) => {
      const history = inserts(1);
      await changeLog.write(history.changes);
      const ends = {
        [changeLog.topicOf('items')]: Array.from({ length: partitionCount }, () => 9),
      };
      await changeLog.watermark({ ...lastCut(history), ends });
      await expect(loadUpTo(lastCut(history).cut)).rejects.toMatchObject({ kind: 'log-corrupt' });
    }));
});

function expectSourceAt(lake: MemoryLake, history: History, index: number): void {
  const state = lakeAndSource(lake, history, index);
  expect(state.lake).toEqual(state.source);
}
