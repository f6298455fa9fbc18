import { setTimeout as pause } from 'node:timers/promises';
import { closeSession, openSession, query } from '../../capture/postgres/connection.ts';
import { readPublication } from '../../capture/postgres/publication.ts';
import { readRewriteMarks, type RewriteMark } from '../../capture/postgres/rewrite-marks.ts';
import { type ProgressRecord, readProgress } from '../../capture/progress.ts';
import { wasRewritten } from '../../capture/rewrites.ts';
import type { Log } from '../../log/log.ts';
import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { formatLsn, type Lsn } from '../../schemas/lsn.ts';
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
   * Has the lake stand still while `decide` finds a position, apply exactly up to there, and stay there
   * while `use` runs; `applied` is above the position when the lake had passed it all the same.
   */
  readonly holdLake: HoldLake;
  readonly onTable?: (done: number, of: number, report: TableReport) => void;
  readonly onWait?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export type HoldLake = <T>(
  decide: () => Promise<PositionText>,
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
    await using snapshots = new AsyncDisposableStack();
    const compared = await compareOnce(snapshots, progress, options);
    if (compared === 'passed') continue;
    const { lsn, tables } = compared;
    return {
      lsn: formatLsn(lsn),
      tables,
      rows: tables.reduce((sum, table) => sum + table.sourceRows, 0),
      differences: tables.reduce((sum, table) => sum + table.differences.length, 0),
      seconds: (performance.now() - startedAt) / 1000,
    };
  }
  const message = `the lake was ahead of the source's snapshot ${attemptsMax} times in a row`;
  throw new PipelineError('sink-failed', message, { hint: 'try again when less is written' });
}

async function compareOnce(
  snapshots: AsyncDisposableStack,
  progress: ProgressRecord,
  options: VerifyOptions,
): Promise<{ readonly lsn: Lsn; readonly tables: readonly TableReport[] } | 'passed'> {
  let source: SourceSnapshot | null = null;
  const decide = async (): Promise<PositionText> => {
    source = snapshots.use(await openSourceSnapshot(options.source));
    await nudge(options.source.url);
    return cutBelow(source, progress);
  };
  return await options.holdLake(decide, async (lake, applied) => {
    assert(source, 'the lake is held after the position was decided');
    if (applied > cutBelow(source, progress)) return 'passed';
    const { onTable } = options;
    const comparison = { source, lake, ...(onTable === undefined ? {} : { onTable }) };
    return { lsn: source.lsn, tables: await compareTables(comparison) };
  });
}

/** Every transaction whose commit record starts before the snapshot's LSN is in it, and no other. */
function cutBelow({ lsn }: SourceSnapshot, { generation }: ProgressRecord): PositionText {
  return cutAfter(generation, lsn - 1n);
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

/** While tables are still to be read (again) the lake cannot equal the source. */
async function untilSnapshotIsDone(options: VerifyOptions): Promise<ProgressRecord> {
  const published = await publishedTables(options.source);
  let waitingFor = 0;
  for (;;) {
    options.signal?.throwIfAborted();
    const progress = await readProgress(options.log, options.prefix);
    if (progress === null) {
      const hint = 'start it: tributary run';
      throw new PipelineError('source-unfit', 'capture has not written to this log yet', { hint });
    }
    const open = published.filter((table) => isOpen(table, progress));
    if (open.length === 0) return progress;
    if (open.length !== waitingFor) {
      waitingFor = open.length;
      const tables = open.length === 1 ? '1 table is' : `${open.length} tables are`;
      options.onWait?.(`waiting for the snapshot: ${tables} still read`);
    }
    await pause(snapshotPollMs);
  }
}

interface MarkedTable {
  readonly oid: number;
  readonly name: string;
  readonly mark: RewriteMark | undefined;
}

/** Whether capture has not read the table yet, as it is by now, or has not even noticed that it must. */
function isOpen({ oid, name, mark }: MarkedTable, progress: ProgressRecord): boolean {
  if (progress.snapshot.tables[name]?.done !== true) return true;
  return mark !== undefined && wasRewritten(progress.rewriteMarks?.[oid], mark);
}

async function publishedTables(source: SourceSnapshotOptions): Promise<readonly MarkedTable[]> {
  const session = await openSession(source);
  try {
    const publication = await readPublication(session, source.publication);
    const tables = (publication?.tables ?? []).filter((table) => source.wants(tableName(table)));
    const oids = tables.map(({ oid }) => oid);
    const marks = await readRewriteMarks(session, oids);
    return tables.map((table) => ({
      oid: table.oid,
      name: tableName(table),
      mark: marks.get(table.oid),
    }));
  } finally {
    await closeSession(session);
  }
}
