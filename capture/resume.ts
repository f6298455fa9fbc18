import { setTimeout as pause } from 'node:timers/promises';

import type { Log, OffsetRange } from '../log/log.ts';
import { PipelineError } from '../runtime/errors.ts';
import { controlTopics } from '../schemas/control.ts';
import { formatLsn, type Lsn, parseLsn } from '../schemas/lsn.ts';
import { cutAfter, positionZero } from '../schemas/position.ts';
import { tableName } from '../schemas/table-schema.ts';
import { isTableTopic, LogTails, readTails } from './log-tails.ts';
import type { CaptureLogger } from './options.ts';
import { query, type SqlSession } from './postgres/connection.ts';
import { type Publication, readPublication } from './postgres/publication.ts';
import {
  createSlot,
  identifySystem,
  inspectSlot,
  openTransactions,
  type SlotState,
  type SystemIdentity,
} from './postgres/slot.ts';
import { compilePatterns, type TablePatterns } from './postgres/table-patterns.ts';
import { transactionTopicOf } from './transaction-topic.ts';
import { encodeProgress, type ProgressRecord, readProgress } from './progress.ts';
import { judgeSource } from './source-rules.ts';

export interface ResumeOptions {
  readonly session: SqlSession;
  readonly replication: SqlSession;
  readonly log: Log;
  readonly prefix: string;
  readonly slot: string;
  readonly publication: string;
  /** Which tables are captured, of those published. */
  readonly tables: TablePatterns;
  /** How long another reader of the slot may take to go away. */
  readonly slotWaitMs: number;
  readonly logger: CaptureLogger;
  readonly signal: AbortSignal;
}

/** Where capture goes on. */
export interface ResumePoint {
  readonly progress: ProgressRecord;
  readonly durableLsn: Lsn;
  /** What PostgreSQL was told last; the stream begins here. */
  readonly confirmedLsn: Lsn;
  readonly tails: LogTails;
  /** Retained offsets of the tables' topics. */
  readonly ranges: ReadonlyMap<string, readonly OffsetRange[]>;
  readonly publication: Publication;
}

const slotPollMs = 200;
const blockedReportMs = 2000;

/**
 * Compares source and log, creates the slot at the first start, and says where to go on. Throws
 * `source-gap`, `source-unfit`, or `slot-in-use` when another reader stays.
 */
export async function findResumePoint(options: ResumeOptions): Promise<ResumePoint> {
  const { log, prefix, session, replication, publication: publicationName } = options;
  await createControlTopics(log, prefix);
  const publication = await readPublication(session, publicationName);
  if (publication === null) throw missingPublication(publicationName);
  const isWanted = compilePatterns(options.tables);
  if (!publication.tables.some((table) => isWanted(tableName(table)))) throw noTable(options);
  const [stored, system, slot] = [
    await readProgress(log, prefix),
    await identifySystem(replication),
    await freeSlot(options),
  ];
  const { ranges, transactions } = await topicRanges(log, prefix);
  const tails = await readTails(log, new Map([...ranges, ...transactions]));
  const decision = judgeSource({
    system,
    slot,
    slotName: options.slot,
    publicationName,
    publicationOid: publication.oid,
    progress: stored,
    highest: new LogTails(tails, positionZero).highest,
    timelineEnd: await timelineEnd(replication, { progress: stored, system }),
  });
  const progress = {
    ...(stored ?? firstProgress),
    systemId: system.systemId,
    timeline: system.timeline,
    database: system.database,
    slot: options.slot,
    publicationOid: publication.oid,
  };
  const startLsn =
    decision === 'create' ? await makeSlot(options, progress) : (slot?.confirmedLsn ?? 0n);
  const durableLsn =
    decision === 'resume' && progress.lsn !== null ? parseLsn(progress.lsn) : startLsn;
  const current = { ...progress, lsn: formatLsn(durableLsn) };
  // Before the first change, or a crash would leave changes that nothing vouches for.
  if (decision !== 'resume') await recordProgress(options, current);
  return {
    progress: current,
    durableLsn,
    confirmedLsn: startLsn,
    tails: new LogTails(tails, cutAfter(progress.generation, durableLsn - 1n)),
    ranges,
    publication,
  };
}

const firstProgress: ProgressRecord = {
  format: 1,
  generation: 1,
  systemId: '',
  timeline: 0,
  database: '',
  slot: '',
  publicationOid: 0,
  lsn: null,
  committedAtUs: null,
  snapshot: { tables: {} },
};

async function createControlTopics(log: Log, prefix: string): Promise<void> {
  const topics = controlTopics(prefix);
  await log.createTopics([
    { topic: topics.progress, partitions: 1, compacted: true },
    { topic: topics.watermarks, partitions: 1, compacted: false },
    { topic: topics.schemas, partitions: 1, compacted: true },
  ]);
}

type Ranges = ReadonlyMap<string, readonly OffsetRange[]>;

/** Of the tables' topics, and apart of the transactions': no watermark speaks of that. */
async function topicRanges(
  log: Log,
  prefix: string,
): Promise<{ readonly ranges: Ranges; readonly transactions: Ranges }> {
  const all = [...(await log.ranges())];
  return {
    ranges: new Map(all.filter(([topic]) => isTableTopic(prefix, topic))),
    transactions: new Map(all.filter(([topic]) => topic === transactionTopicOf(prefix))),
  };
}

function missingPublication(name: string): PipelineError {
  return new PipelineError('source-unfit', `publication "${name}" does not exist`, {
    hint: `run: create publication ${name} for all tables; or name your tables (\`tributary init\` prints the SQL)`,
  });
}

/** A misspelled table would otherwise be captured forever without a change. */
function noTable({ publication, tables }: ResumeOptions): PipelineError {
  return new PipelineError(
    'source-unfit',
    `publication "${publication}" has no table like ${tables.join(', ')}`,
    { hint: 'correct source.tables, or publish the tables: `tributary check` prints the SQL' },
  );
}

/** The slot once no other process reads it; null when there is none. */
async function freeSlot(options: ResumeOptions): Promise<SlotState | null> {
  const deadlineMs = performance.now() + options.slotWaitMs;
  for (let isFirst = true; ; isFirst = false) {
    const slot = await inspectSlot(options.session, options.slot);
    if (slot === null || slot.activePid === null) return slot;
    const reader = `slot "${options.slot}" is read by process ${slot.activePid} of the server`;
    if (performance.now() >= deadlineMs) {
      throw new PipelineError('slot-in-use', reader, {
        hint: `stop the other reader, or run: select pg_terminate_backend(${slot.activePid})`,
        context: { pid: slot.activePid },
      });
    }
    if (isFirst) options.logger.warn(`${reader}; waiting for it to go away`);
    await pause(slotPollMs, undefined, { signal: options.signal });
  }
}

/**
 * Creates the slot. The intent is recorded before, so that a slot found after a crash is known to be
 * ours and unused: nothing was streamed from it, and the snapshot has yet to begin.
 */
async function makeSlot(options: ResumeOptions, progress: ProgressRecord): Promise<Lsn> {
  const { logger, replication, slot } = options;
  await recordProgress(options, { ...progress, lsn: null });
  const reporter = setInterval(() => void reportBlockers(options), blockedReportMs);
  try {
    const lsn = await createSlot(replication, slot);
    logger.info(`created slot "${slot}" at LSN ${formatLsn(lsn)}`);
    return lsn;
  } finally {
    clearInterval(reporter);
  }
}

async function recordProgress(
  { log, prefix }: ResumeOptions,
  progress: ProgressRecord,
): Promise<void> {
  const topic = controlTopics(prefix).progress;
  const records = [encodeProgress(progress, Date.now())];
  await log.append([{ topic, partition: 0, records }]);
}

async function reportBlockers({ session, logger, slot }: ResumeOptions): Promise<void> {
  const open = await openTransactions(session, blockedReportMs / 1000).catch(() => []);
  for (const { pid, user, ageSeconds } of open.slice(0, 3)) {
    logger.warn(
      `creating slot "${slot}" waits for an open transaction: pid ${pid}, user ${user}, open for ${Math.round(ageSeconds)} s`,
    );
  }
}

/** Where the source's history leaves the timeline of the progress record; null when it does not say. */
async function timelineEnd(
  replication: SqlSession,
  { progress, system }: { progress: ProgressRecord | null; system: SystemIdentity },
): Promise<Lsn | null> {
  if (progress === null || progress.timeline === system.timeline || system.timeline <= 1) {
    return null;
  }
  const rows = await query<{ content: Buffer | string }>(
    replication,
    `TIMELINE_HISTORY ${system.timeline}`,
  ).catch(() => []);
  const text = rows[0]?.content.toString() ?? '';
  for (const line of text.split('\n')) {
    const [timeline, lsn] = line.trim().split(/\s+/);
    if (Number(timeline) === progress.timeline && lsn !== undefined) return parseLsn(lsn);
  }
  return null;
}
