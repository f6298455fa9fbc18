import type { Log } from '../log/log.ts';
import type { Lsn } from '../schemas/lsn.ts';
import { CaptureLine } from './capture-line.ts';
import { ParkedTables } from './parked-tables.ts';
import { openSnapshot } from './open-snapshot.ts';
import { captureLimitDefaults, type CaptureOptions } from './options.ts';
import {
  closeSession,
  openReplication,
  openSession,
  type SqlSession,
} from './postgres/connection.ts';
import { findResumePoint, type ResumePoint } from './resume.ts';
import { readAgain, Rewrites } from './rewrites.ts';
import type { Snapshot } from './snapshot/snapshot.ts';
import { Spool } from './spool.ts';
import { Tables, type TablesOptions } from './tables.ts';
import { openTransactionTopic } from './transaction-topic.ts';

/** `source.connector` and `source.version` of every envelope. */
const connector = 'postgresql';
const version = '0.1.0';
const partitionsDefault = 4;

/** One connection to source and log, ready to start. */
export interface OpenCapture extends AsyncDisposable {
  readonly startLsn: Lsn;
  /** Rejects with the first thing that breaks; never resolves. */
  readonly broken: Promise<never>;
  start(): void;
  /** Takes nothing more, and makes durable and confirmed what was received completely. */
  drain(): Promise<void>;
}

interface Opened {
  readonly log: Log;
  readonly session: SqlSession;
  readonly resume: ResumePoint;
  readonly signal: AbortSignal;
}

/**
 * Opens log and source and finds where to go on. Throws a PipelineError when source or log do not
 * allow it; then nothing stays open.
 */
export async function openCapture(
  options: CaptureOptions,
  signal: AbortSignal,
): Promise<OpenCapture> {
  await using resources = new AsyncDisposableStack();
  const limits = { ...captureLimitDefaults, ...options.limits };
  const log = resources.adopt(await options.openLog(), (opened) => opened.close());
  const session = resources.adopt(await openSession(options.source), closeSession);
  const replication = resources.adopt(await openReplication(options.source), closeSession);
  const spool = resources.adopt(new Spool({ path: options.spoolPath }), (opened) => opened.close());
  await spool.open();
  const resume = await findResumePoint({
    ...options.source,
    prefix: options.prefix,
    slotWaitMs: limits.slotWaitMs,
    logger: options.logger,
    session,
    replication,
    log,
    signal,
  });
  const { registry, prefix } = options;
  const transactions =
    options.transactionTopic === true
      ? await openTransactionTopic({ log, registry, prefix })
      : null;
  let snapshot: Snapshot | null = null;
  let line: CaptureLine | null = null;
  const tables = await openTables(
    options,
    { log, session, resume, signal },
    {
      onRewritten: (table) => {
        if (snapshot !== null) readAgain([table], { snapshot, logger: options.logger });
      },
      onParked: (table) => snapshot?.release(table),
      onParkedChanged: () => line?.lookAtParked(),
    },
  );
  snapshot = await openSnapshot({ options, session, resume, tables });
  const opened = new CaptureLine({
    options,
    limits,
    log,
    session,
    replication,
    spool,
    resume,
    tables,
    snapshot,
    transactions,
  });
  line = opened;
  resources.defer(() => opened.close());
  const owned = resources.move();
  return {
    startLsn: resume.confirmedLsn,
    broken: opened.broken,
    start: () => opened.start(),
    drain: () => opened.drain(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function openTables(
  options: CaptureOptions,
  { log, session, resume, signal }: Opened,
  listener: Pick<TablesOptions, 'onRewritten' | 'onParked' | 'onParkedChanged'>,
): Promise<Tables> {
  const { logger, observe = () => undefined } = options;
  const limits = { ...captureLimitDefaults, ...options.limits };
  const parked = new ParkedTables(resume.progress.parked);
  observe({ type: 'parked', tables: parked.size });
  const tables = new Tables({
    ...listener,
    session,
    log,
    connector,
    version,
    parked,
    rewrites: new Rewrites(resume.progress.rewriteMarks),
    logger,
    observe,
    retry: {
      firstDelayMs: limits.reconnectDelayMs,
      longestDelayMs: limits.reconnectDelayMsMax,
      giveUpAfterMs: limits.giveUpAfterMs,
      signal,
    },
    registry: options.registry,
    incompatible: options.incompatible ?? (() => undefined),
    prefix: options.prefix,
    patterns: options.source.tables,
    partitions: options.partitions ?? partitionsDefault,
    partitioning: options.partitioning ?? 'debezium',
    database: resume.progress.database,
  });
  await tables.load(resume.ranges);
  return tables;
}
