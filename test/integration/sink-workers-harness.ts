import { expect, vi } from 'vitest';
import type { Log } from '../../log/log.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import type { MemoryLake } from '../../sinks/memory/client.ts';
import { runSink } from '../../sinks/run-sink.ts';
import { shareOf } from '../../sinks/shares.ts';
import { MemorySink } from '../../sinks/memory/sink.ts';
import { FolderMembership } from '../../sinks/workers/folder-membership.ts';
import type { MemberRecord, Membership } from '../../sinks/workers/membership.ts';
import { runWorker, type WorkerLimits, type WorkerView } from '../../sinks/workers/run-worker.ts';
import { TopicMembership } from '../../sinks/workers/topic-membership.ts';
import type { History } from '../conformance/sink-history.ts';
import type { ChangeLog } from '../support/change-log.ts';
import { Freezer } from '../support/freezable.ts';
import { appendedPositions, lakeAndSource, type LogAndLake } from './run-sink-harness.ts';

const quickLimits = { lookEveryMs: 15, silenceMsMax: 250 };
/** So many that each of the three tables has a share of its own. */
const shareCount = 5;

export type Meeting = 'topic' | 'folder';

/** One worker of a sink on a lake in memory, in a process of its own as far as it can tell. */
export interface TestWorker {
  readonly freezer: Freezer;
  readonly fenced: number[];
  readonly gone: MemberRecord[];
  /** share → epochs under which it was opened. */
  readonly opened: { readonly share: number; readonly epoch: number }[];
  view(): WorkerView | null;
  /** Calls before each batch is applied; the batch waits for what it returns. */
  beforeApply: () => void;
  stop(): Promise<void>;
  readonly ended: Promise<void>;
}

export interface WorkerPlace {
  readonly given: LogAndLake;
  readonly meeting: Meeting;
  /** For members that meet in a folder. */
  readonly folder: string;
  /** For members that meet in a topic: a log of their own each. */
  readonly openLog: () => Promise<Log>;
  readonly limits?: Partial<WorkerLimits>;
}

export function membershipOf({ given, meeting, folder, openLog }: WorkerPlace): Membership {
  const { prefix } = given.changeLog;
  return meeting === 'folder'
    ? new FolderMembership(folder, 'lake')
    : new TopicMembership({ openLog, prefix, sink: 'lake' });
}

export function startWorker(place: WorkerPlace, name: string): TestWorker {
  const { changeLog, lake } = place.given;
  const freezer = new Freezer();
  const stop = new AbortController();
  const fenced: number[] = [];
  const gone: MemberRecord[] = [];
  const opened: { share: number; epoch: number }[] = [];
  let view: WorkerView | null = null;
  const log = freezer.log(changeLog.log);
  const { registry, prefix } = changeLog;
  const worker: Omit<TestWorker, 'ended'> = {
    freezer,
    fenced,
    gone,
    opened,
    view: () => view,
    beforeApply: () => {},
    stop: async () => {
      stop.abort();
      freezer.thaw();
      await ended;
    },
  };
  const ended = runWorker(
    {
      sink: 'lake',
      shareCount,
      membership: freezer.membership(membershipOf(place)),
      loadShare: async (share, load) => {
        const memory = freezer.sink(new MemorySink(lake, { share, shareCount }));
        await runSink(
          {
            log,
            registry,
            prefix,
            wants: (table) => shareOf(table, shareCount) === share,
            sink: {
              ...memory,
              apply: (batch) => {
                worker.beforeApply();
                return memory.apply(batch);
              },
            },
            limits: { idleWaitMs: 5, firstRetryMs: 1 },
            observer: {
              onOpened: ({ epoch }) => {
                opened.push({ share, epoch });
                load.onOpened(epoch);
              },
            },
          },
          { signal: load.signal },
        );
      },
      limits: place.limits ?? quickLimits,
      place: { host: name, pid: 1 },
      observer: {
        onLook: (seen) => void (view = seen),
        onFenced: (share) => void fenced.push(share),
        onGone: (member) => void gone.push(member),
      },
    },
    { signal: stop.signal },
  );
  // A failure is for whoever stops it.
  ended.catch(() => {});
  return Object.assign(worker, { ended });
}

/** Appends transactions `from` to `to`, with a watermark after each. */
export async function write(
  changeLog: ChangeLog,
  history: History,
  [from, to]: readonly [from: number, to: number],
) {
  for (let index = from; index <= to; index += 1) {
    const floor = history.cuts[index - 1]?.cut ?? '';
    const { cut, lsn } = history.cuts[index]!;
    const changes = history.changes.filter(({ seq }) => floor < seq && seq <= cut);
    await changeLog.write(changes);
    await changeLog.watermark({ cut, lsn: formatLsn(lsn), full: index % 5 === 0 });
  }
}

export const patience = { timeout: 60_000, interval: 5 };

/** Resolves when the lake is at the end of the history, and holds each record once. */
export async function expectAll(lake: MemoryLake, history: History) {
  const last = history.cuts.length - 1;
  await vi.waitUntil(() => appendedPositions(lake).length >= history.changes.length, patience);
  expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
  const places = [...lake.tables.values()].flatMap(({ changes }) =>
    changes.map(({ change }) => `${change.topic}/${change.partition}/${change.offset}`),
  );
  expect(new Set(places).size).toBe(places.length);
  const found = lakeAndSource(lake, history, last);
  expect(found.lake).toEqual(found.source);
}

const loadingOf = (workers: readonly TestWorker[]) =>
  workers.map((worker) => worker.view()?.loading ?? []);
export const isDivided = (workers: readonly TestWorker[]) => {
  const loading = loadingOf(workers);
  const all = loading.flat();
  const isEven = loading.every(({ length }) => length >= Math.floor(shareCount / workers.length));
  return all.length === shareCount && new Set(all).size === shareCount && isEven;
};

export async function stopAll(workers: readonly TestWorker[]) {
  await Promise.all(workers.map((worker) => worker.stop()));
}
