import { setTimeout as sleep } from 'node:timers/promises';
import { closeSession, openSession, type SqlSession } from '../../capture/postgres/connection.ts';
import { readPublication } from '../../capture/postgres/publication.ts';
import { readRewriteMarks, type RewriteMark } from '../../capture/postgres/rewrite-marks.ts';
import { inspectSlot } from '../../capture/postgres/slot.ts';
import { type ProgressRecord, readProgress } from '../../capture/progress.ts';
import { wasRewritten } from '../../capture/rewrites.ts';
import type { Log } from '../../log/log.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { tableName } from '../../schemas/table-schema.ts';
import type { SourceSnapshotOptions } from './source-snapshot.ts';

export interface AwaitSnapshotOptions {
  readonly source: SourceSnapshotOptions;
  readonly slot: string;
  readonly log: Log;
  readonly prefix: string;
  /** How long nobody may read the slot: capture that is started anew comes back sooner. */
  readonly awayMsMax?: number;
  readonly onWait?: (text: string) => void;
  readonly signal?: AbortSignal;
}

const awayMsDefault = 60_000;
const pollMs = 250;

/**
 * Waits while tables are still to be read (again): the lake cannot equal the source. Throws `source-unfit`
 * when capture has never run, or is away while tables are left.
 */
export async function awaitSnapshot(options: AwaitSnapshotOptions): Promise<ProgressRecord> {
  const { awayMsMax = awayMsDefault, source, slot, signal } = options;
  const session = await openSession(source);
  try {
    const published = await publishedTables(session, source);
    let waitingFor = 0;
    let seenMs = performance.now();
    for (;;) {
      signal?.throwIfAborted();
      const progress = await readProgress(options.log, options.prefix);
      if (progress === null) {
        const hint = 'start it: tributary run';
        throw new PipelineError('source-unfit', 'capture has not written to this log yet', {
          hint,
        });
      }
      const open = published.filter((table) => isOpen(table, progress));
      if (open.length === 0) return progress;
      const tables = open.length === 1 ? '1 table is' : `${open.length} tables are`;
      if (open.length !== waitingFor) {
        waitingFor = open.length;
        options.onWait?.(`waiting for the snapshot: ${tables} still read`);
      }
      const readerPid = (await inspectSlot(session, slot))?.activePid ?? null;
      if (readerPid !== null) seenMs = performance.now();
      if (performance.now() - seenMs > awayMsMax) throw awayError(tables, slot, awayMsMax);
      await sleep(pollMs);
    }
  } finally {
    await closeSession(session);
  }
}

const awayError = (tables: string, slot: string, awayMsMax: number) =>
  new PipelineError(
    'source-unfit',
    `${tables} still to be read, and nobody has read slot "${slot}" for ${awayMsMax / 1000} s`,
    { hint: 'start capture: tributary run' },
  );

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

async function publishedTables(
  session: SqlSession,
  source: SourceSnapshotOptions,
): Promise<readonly MarkedTable[]> {
  const publication = await readPublication(session, source.publication);
  const tables = (publication?.tables ?? []).filter((table) => source.wants(tableName(table)));
  const oids = tables.map(({ oid }) => oid);
  const marks = await readRewriteMarks(session, oids);
  return tables.map((table) => ({
    oid: table.oid,
    name: tableName(table),
    mark: marks.get(table.oid),
  }));
}
