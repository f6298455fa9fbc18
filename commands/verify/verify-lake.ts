import { closeSession, openSession, query } from '../../capture/postgres/connection.ts';
import type { ProgressRecord } from '../../capture/progress.ts';
import type { Log } from '../../log/log.ts';
import { assert } from '../../runtime/assert.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { formatLsn, type Lsn } from '../../schemas/lsn.ts';
import { cutAfter, type PositionText } from '../../schemas/position.ts';
import { awaitSnapshot } from './await-snapshot.ts';
import { compareTables, type LakeRows, type TableReport } from './compare-tables.ts';
import {
  openSourceSnapshot,
  type SourceSnapshot,
  type SourceSnapshotOptions,
} from './source-snapshot.ts';

export interface VerifyOptions {
  readonly source: SourceSnapshotOptions;
  /** The one that capture reads. */
  readonly slot: string;
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

/**
 * Compares source and lake, value for value, as of one LSN, while the source is written to. Throws
 * `source-unfit` when capture has never run, or not for long enough to read every table, and what source,
 * log and lake throw.
 */
export async function verifyLake(options: VerifyOptions): Promise<VerifyReport> {
  const startedAt = performance.now();
  const progress = await awaitSnapshot(options);
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
