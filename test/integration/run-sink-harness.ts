import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { openEmbeddedRegistry } from '../../log/embedded/embedded-registry.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';
import { MemoryLake } from '../../sinks/memory/client.ts';
import { MemorySink } from '../../sinks/memory/sink.ts';
import { type BatchReport, runSink, type RunSinkOptions } from '../../sinks/run-sink.ts';
import type { Sink } from '../../sinks/sink.ts';
import { type History, sortedIdentities } from '../conformance/sink-history.ts';
import { ChangeLog } from '../support/change-log.ts';

/** A log file that several tests share, each with topics of its own. */
export interface SharedLog extends AsyncDisposable {
  readonly file: string;
  fresh(): Promise<LogAndLake>;
}

/** Topics that nothing was written to yet, and a lake in memory. */
export interface LogAndLake {
  readonly changeLog: ChangeLog;
  readonly lake: MemoryLake;
  /** Runs a sink until it has published everything up to `cut`; the batches that it applied. */
  readonly loadUpTo: (
    cut: PositionText,
    options?: Partial<RunSinkOptions>,
  ) => Promise<readonly BatchReport[]>;
  /** Runs a sink until the signal. */
  readonly load: (options: Partial<RunSinkOptions>, signal: AbortSignal) => Promise<void>;
}

/** With a registry of its own in the log's file, unless one is given. */
export async function openSharedLog(given?: SchemaRegistry): Promise<SharedLog> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-sink-'));
  const file = path.join(dir, 'log');
  const log = await openEmbeddedLog({ path: file });
  const registry = given ?? (await openEmbeddedRegistry({ path: file }));
  let count = 0;
  return {
    file,
    fresh: async () => {
      count += 1;
      const changeLog = new ChangeLog(log, registry, `app${count}`);
      await changeLog.create(['items', 'pairs', 'audit']);
      return logAndLake(changeLog);
    },
    [Symbol.asyncDispose]: async () => {
      await registry.close();
      await log.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A lake in memory beside a log that somebody writes. */
export function logAndLake(changeLog: ChangeLog): LogAndLake {
  const lake = new MemoryLake();
  const { log, registry, prefix } = changeLog;
  const load = (options: Partial<RunSinkOptions>, signal: AbortSignal) =>
    runSink(
      { log, registry, prefix, wants: () => true, sink: new MemorySink(lake), ...options },
      { signal },
    );
  return {
    changeLog,
    lake,
    load,
    loadUpTo: async (cut, options = {}) => {
      const reports: BatchReport[] = [];
      const stop = new AbortController();
      const { observer } = options;
      const onApplied = (report: BatchReport) => {
        reports.push(report);
        observer?.onApplied?.(report);
        if (report.batch.cut.publish && report.batch.checkpoint.applied >= cut) stop.abort();
      };
      await load({ ...options, observer: { ...observer, onApplied } }, stop.signal);
      return reports;
    },
  };
}

/** Live rows of every table in the lake, and those that the source had after transaction `index`. */
export function lakeAndSource(lake: MemoryLake, history: History, index: number) {
  const cut = history.cuts[index];
  const versions = cut?.versions ?? [];
  return {
    lake: versions.map((version) => sortedIdentities(lake.rows(version).map((row) => row.image))),
    source: versions.map((version) => sortedIdentities(cut?.rows.get(version.table.name) ?? [])),
  };
}

/** Positions of all changes that the lake has appended, in order, duplicates included. */
export function appendedPositions(lake: MemoryLake): readonly PositionText[] {
  const changes = [...lake.tables.values()].flatMap((table) => table.changes);
  return changes.map(({ change }) => change.seq).toSorted();
}

/** A sink that fails in the middle of `apply` on the calls that are named (0 is the first). */
export function failingSink(sink: Sink, calls: readonly number[], error: () => Error): Sink {
  let call = -1;
  return {
    open: () => sink.open(),
    evolve: (version) => sink.evolve(version),
    apply: (batch) => {
      call += 1;
      return calls.includes(call) ? Promise.reject(error()) : sink.apply(batch);
    },
    lend: (use) => sink.lend(use),
    close: () => sink.close(),
  };
}
