import { isTableTopic } from '../../capture/log-tails.ts';
import { closeSession, openSession, query } from '../../capture/postgres/connection.ts';
import { inspectSlot } from '../../capture/postgres/slot.ts';
import { readProgress } from '../../capture/progress.ts';
import type { Log, StoredRecord } from '../../log/log.ts';
import type { Config } from '../../runtime/config.ts';
import { reportError, type ErrorReport } from '../../runtime/report-error.ts';
import { createRedact, secretsOfConfig } from '../../runtime/redact.ts';
import { controlTopics, type Watermark } from '../../schemas/control.ts';
import { formatLsn, parseLsn, type Lsn } from '../../schemas/lsn.ts';
import { parsePosition, type PositionText, positionZero } from '../../schemas/position.ts';
import { isEnded } from '../../sinks/process-state.ts';
import type { LoadCosts } from '../../sinks/bigquery/load-costs.ts';
import type { Checkpoint } from '../../sinks/sink.ts';
import type { MemberRecord } from '../../sinks/workers/membership.ts';
import { silenceMsMax } from '../../sinks/workers/run-worker.ts';
import type { ConfiguredLake } from '../lakes/lake.ts';
import { openLogReader } from '../open-log.ts';

/** How long one record of the log may take to be read. */
const readWaitMs = 3_000;

/** How far each stage is. A stage that cannot be read has a problem in its place. */
export interface Status {
  readonly source: Stage<SourceStatus>;
  readonly log: Stage<LogStatus>;
  readonly sinks: Readonly<Record<string, Stage<SinkStatus>>>;
  /** By sink; those that loaded last come first. */
  readonly workers: Readonly<Record<string, readonly WorkerStatus[]>>;
}

export type Stage<T> = T | { readonly problem: ErrorReport };

export interface SourceStatus {
  /** End of the write-ahead log. */
  readonly lsn: string;
  readonly slot: SlotStatus | null;
}

export interface SlotStatus {
  readonly name: string;
  readonly isActive: boolean;
  readonly walStatus: string | null;
  readonly confirmedLsn: string | null;
  /** Between the confirmed LSN and the end of the write-ahead log. */
  readonly unconfirmedBytes: number | null;
  /** What the server keeps because of the slot. */
  readonly retainedBytes: number | null;
}

export interface LogStatus {
  readonly tables: number;
  readonly records: number;
  /** Everything that committed before it is on the log; null before the first watermark. */
  readonly watermarkLsn: string | null;
  readonly committedAt: string | null;
  /** When the newest watermark was written: what committed before it was captured is on the log. */
  readonly watermarkAt: string | null;
  /** Null when the source cannot be read. */
  readonly behindBytes: number | null;
  /** Tables whose first load is not finished. */
  readonly loading: readonly string[];
  /** Tables whose changes are not captured, because the registry does not take their schema. */
  readonly parked: readonly ParkedStatus[];
}

export interface ParkedStatus {
  readonly table: string;
  /** Position of the first change that is missing. */
  readonly since: PositionText;
  readonly reason: string;
}

export interface SinkStatus {
  readonly epoch: number;
  readonly applied: PositionText;
  readonly appliedLsn: string;
  /** Between the newest watermark of the log and what is applied; null when the log cannot be read. */
  readonly behindBytes: number | null;
  /** Commit time of the newest transaction that is applied; null when it is not known. */
  readonly committedAt: string | null;
  /** From that commit to the newest one on the log; null when one of them is not known. */
  readonly behindMs: number | null;
  /** What loading costs; null where nobody sends a bill. */
  readonly costs: LoadCosts | null;
}

/** A process that loads a part of a lake, or stands by. */
export interface WorkerStatus {
  readonly host: string;
  readonly pid: number;
  readonly state: 'loading' | 'standby' | 'silent' | 'ended';
  /** The sets of tables that it loads. */
  readonly shares: readonly number[];
  /** Since it last announced itself, by its clock and this one's. */
  readonly seenMsAgo: number;
}

type LakeOf = (sink: string) => Pick<ConfiguredLake, 'checkpoint' | 'openMembership' | 'costs'>;

/** Reads every stage that can be read; throws nothing. */
export async function readStatus(config: Config, lakeOf: LakeOf): Promise<Status> {
  const redact = createRedact(secretsOfConfig(config));
  const stage = async <T>(read: () => Promise<T>): Promise<Stage<T>> => {
    try {
      return await read();
    } catch (error) {
      return { problem: reportError(error, redact) };
    }
  };
  const source = await stage(() => readSource(config));
  const opened = await stage(async () => ({ log: await openLogReader(config) }));
  const openLog = 'problem' in opened ? null : opened.log;
  try {
    const sourceEnd = 'problem' in source ? null : parseLsn(source.lsn);
    const log =
      'problem' in opened ? opened : await stage(() => readLog(opened.log, config, sourceEnd));
    const sinks = Object.keys(config.sinks).map(async (name) => {
      const lake = lakeOf(name);
      const sink = await stage(async () => {
        const checkpoint = await lake.checkpoint();
        const costs = checkpoint === null ? null : await lake.costs();
        return sinkStatus(checkpoint, {
          costs,
          log: 'problem' in log ? null : log,
          committedAt: await appliedCommit(openLog, config.log.prefix, checkpoint),
        });
      });
      const members = await readMembers(lake).catch(() => []);
      return { name, sink, workers: workerStatuses(members, Date.now()) };
    });
    const read = await Promise.all(sinks);
    return {
      source,
      log,
      sinks: Object.fromEntries(read.map(({ name, sink }) => [name, sink])),
      workers: Object.fromEntries(read.map(({ name, workers }) => [name, workers])),
    };
  } finally {
    await openLog?.close();
  }
}

/** What the workers of a sink last said of themselves. */
async function readMembers(lake: Pick<ConfiguredLake, 'openMembership'>) {
  const membership = lake.openMembership();
  try {
    return await membership.members();
  } finally {
    await membership.close();
  }
}

async function readSource(config: Config): Promise<SourceStatus> {
  const session = await openSession({ url: config.source.url });
  try {
    const slot = await inspectSlot(session, config.source.slot);
    const [row] = await query<{ lsn: string }>(
      session,
      /* sql */ `
        select case when pg_is_in_recovery() then pg_last_wal_receive_lsn()
          else pg_current_wal_flush_lsn() end::text as lsn`,
    );
    const end = parseLsn(row?.lsn ?? '0/0');
    if (slot === null) return { lsn: formatLsn(end), slot: null };
    const { name, activePid, walStatus, confirmedLsn, restartLsn } = slot;
    return {
      lsn: formatLsn(end),
      slot: {
        name,
        isActive: activePid !== null,
        walStatus,
        confirmedLsn: confirmedLsn === null ? null : formatLsn(confirmedLsn),
        unconfirmedBytes: distance(confirmedLsn, end),
        retainedBytes: distance(restartLsn, end),
      },
    };
  } finally {
    await closeSession(session);
  }
}

async function readLog(log: Log, config: Config, sourceEnd: Lsn | null): Promise<LogStatus> {
  const { prefix } = config.log;
  const topics = [...(await log.ranges())].filter(([topic]) => isTableTopic(prefix, topic));
  const progress = await readProgress(log, prefix);
  const newest = await log.lastRecord({ topic: controlTopics(prefix).watermarks, partition: 0 });
  const watermark = watermarkOf(newest);
  return {
    tables: topics.length,
    records: topics
      .flatMap(([, ranges]) => ranges)
      .reduce((sum, { start, end }) => sum + end - start, 0),
    watermarkLsn: watermark?.lsn ?? null,
    committedAt: commitTime(watermark),
    watermarkAt: newest === undefined ? null : new Date(newest.timestampMs).toISOString(),
    behindBytes: watermark === null ? null : distance(parseLsn(watermark.lsn), sourceEnd),
    loading: Object.entries(progress?.snapshot.tables ?? {}).flatMap(([table, { done }]) =>
      done ? [] : [table],
    ),
    parked: Object.entries(progress?.parked ?? {}).map(([table, note]) => ({ table, ...note })),
  };
}

function watermarkOf(record: StoredRecord | undefined): Watermark | null {
  return record === undefined || record.value === null
    ? null
    : (JSON.parse(record.value.toString()) as Watermark);
}

function commitTime(watermark: Watermark | null): string | null {
  const us = watermark?.committedAtUs ?? null;
  return us === null ? null : new Date(Number(BigInt(us) / 1000n)).toISOString();
}

/** Commit time of the watermark that a lake applied last, which the log still has as a rule. */
async function appliedCommit(
  log: Log | null,
  prefix: string,
  checkpoint: Checkpoint | null,
): Promise<string | null> {
  if (log === null || checkpoint === null || checkpoint.watermarkOffset === 0) return null;
  const offset = checkpoint.watermarkOffset - 1;
  const [record] = await log.read(
    { topic: controlTopics(prefix).watermarks, partition: 0, offset },
    { bytesMax: 1, waitMs: readWaitMs, allowTruncated: true },
  );
  return record?.offset === offset ? commitTime(watermarkOf(record)) : null;
}

interface SinkFacts {
  readonly log: LogStatus | null;
  readonly committedAt: string | null;
  readonly costs: LoadCosts | null;
}

function sinkStatus(
  checkpoint: Checkpoint | null,
  { log, committedAt, costs }: SinkFacts,
): SinkStatus {
  const { epoch = 0, applied = positionZero } = checkpoint ?? {};
  // A cut is the last position below an LSN, so one byte above it is where the sink goes on.
  const { commitLsn } = parsePosition(applied);
  const appliedLsn = commitLsn === 0n ? 0n : commitLsn + 1n;
  const watermarkLsn = log?.watermarkLsn ?? null;
  const behindBytes = distance(appliedLsn, watermarkLsn === null ? null : parseLsn(watermarkLsn));
  const newest = log?.committedAt ?? null;
  const behindMs =
    committedAt === null || newest === null
      ? null
      : Math.max(0, Date.parse(newest) - Date.parse(committedAt));
  return {
    epoch,
    applied,
    appliedLsn: formatLsn(appliedLsn),
    behindBytes,
    committedAt,
    behindMs: behindBytes === 0 ? 0 : behindMs,
    costs,
  };
}

/** What the workers said, judged by one look: their clocks and this one's are taken to agree. */
export function workerStatuses(
  members: readonly MemberRecord[],
  nowMs: number,
): readonly WorkerStatus[] {
  return members
    .map((member): WorkerStatus => {
      const { host, pid, atMs, claims } = member;
      const shares = claims.map(({ share }) => share).toSorted((a, b) => a - b);
      const seenMsAgo = Math.max(0, nowMs - atMs);
      const lives = shares.length > 0 ? 'loading' : 'standby';
      const state = seenMsAgo > silenceMsMax ? 'silent' : lives;
      return { host, pid, state: isEnded(member) ? 'ended' : state, shares, seenMsAgo };
    })
    .toSorted((a, b) => b.shares.length - a.shares.length || a.pid - b.pid);
}

function distance(from: Lsn | null, to: Lsn | null): number | null {
  if (from === null || to === null) return null;
  return to > from ? Number(to - from) : 0;
}
