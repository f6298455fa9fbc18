import { setTimeout as pause } from 'node:timers/promises';
import { closeSession, openSession, query } from '../../capture/postgres/connection.ts';
import { readPublication } from '../../capture/postgres/publication.ts';
import { type ProgressRecord, readProgress } from '../../capture/progress.ts';
import type { Log } from '../../log/log.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import { cutAfter, type PositionText } from '../../schemas/position.ts';
import { tableName } from '../../schemas/table-schema.ts';
import { compareTables, type LakeRows, type TableReport } from './compare-tables.ts';
import {
  openSourceSnapshot,
  type SourceSnapshot,
  type SourceSnapshotOptions,
} from './source-snapshot.ts';

export interface VerifyOptions {
  readonly source: SourceSnapshotOptions;
  readonly log: Log;
  readonly prefix: string;
  /**
   * Has the lake applied exactly up to a position and holds it there while `use` runs; `applied` is above
   * the position when the lake had passed it already.
   */
  readonly holdLake: HoldLake;
  readonly onTable?: (done: number, of: number, report: TableReport) => void;
  readonly onWait?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export type HoldLake = <T>(
  until: PositionText,
  use: (lake: LakeRows, applied: PositionText) => Promise<T>,
) => Promise<T>;

export interface VerifyReport {
  /** Both sides are compared as of this LSN. */
  readonly lsn: string;
  readonly tables: readonly TableReport[];
  readonly rows: number;
  readonly differences: number;
  readonly seconds: number;
}

/** How often a lake may have passed the snapshot's LSN before a new snapshot is not tried again. */
const attemptsMax = 5;
const snapshotPollMs = 250;

/**
 * Compares source and lake, value for value, as of one LSN, while the source is written to. Throws
 * `source-unfit` when capture has never run, and what source, log and lake throw.
 */
export async function verifyLake(options: VerifyOptions): Promise<VerifyReport> {
  const startedAt = performance.now();
  const progress = await untilSnapshotIsDone(options);
  for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
    await using source = await openSourceSnapshot(options.source);
    const tables = await compareAt(source, progress, options);
    if (tables === 'passed') continue;
    return {
      lsn: formatLsn(source.lsn),
      tables,
      rows: tables.reduce((sum, table) => sum + table.sourceRows, 0),
      differences: tables.reduce((sum, table) => sum + table.differences.length, 0),
      seconds: (performance.now() - startedAt) / 1000,
    };
  }
  const message = `the lake was ahead of the source's snapshot ${attemptsMax} times in a row`;
  throw new PipelineError('sink-failed', message, { hint: 'try again when less is written' });
}

async function compareAt(
  source: SourceSnapshot,
  progress: ProgressRecord,
  options: VerifyOptions,
): Promise<readonly TableReport[] | 'passed'> {
  // Every transaction whose commit record starts before the snapshot's LSN is in it, and no other.
  const until = cutAfter(progress.generation, source.lsn - 1n);
  await nudge(options.source.url);
  return await options.holdLake(until, async (lake, applied) => {
    if (applied > until) return 'passed';
    const { onTable } = options;
    return await compareTables({ source, lake, ...(onTable === undefined ? {} : { onTable }) });
  });
}

/** On an idle source nothing would move the stream past the snapshot's LSN for a while. */
async function nudge(url: string): Promise<void> {
  const session = await openSession({ url });
  try {
    await query(session, `select pg_logical_emit_message(true, 'tributary.verify', '')`);
  } finally {
    await closeSession(session);
  }
}

/** While tables are still being read the lake cannot equal the source. */
async function untilSnapshotIsDone(options: VerifyOptions): Promise<ProgressRecord> {
  const names = await publishedTables(options.source);
  let waitingFor = 0;
  for (;;) {
    options.signal?.throwIfAborted();
    const progress = await readProgress(options.log, options.prefix);
    if (progress === null) {
      const hint = 'start it: tributary run';
      throw new PipelineError('source-unfit', 'capture has not written to this log yet', { hint });
    }
    // A table without an entry has not been begun: capture has just started, or has not noticed it yet.
    const open = names.filter((name) => progress.snapshot.tables[name]?.done !== true);
    if (open.length === 0) return progress;
    if (open.length !== waitingFor) {
      waitingFor = open.length;
      const tables = open.length === 1 ? '1 table is' : `${open.length} tables are`;
      options.onWait?.(`waiting for the snapshot: ${tables} still read`);
    }
    await pause(snapshotPollMs);
  }
}

async function publishedTables(source: SourceSnapshotOptions): Promise<readonly string[]> {
  const session = await openSession(source);
  try {
    const publication = await readPublication(session, source.publication);
    return (publication?.tables ?? []).map(tableName).filter(source.wants);
  } finally {
    await closeSession(session);
  }
}
