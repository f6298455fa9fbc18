import { closeSession, openSession, query } from '../../capture/postgres/connection.ts';
import { inspectSlot } from '../../capture/postgres/slot.ts';
import { readProgress } from '../../capture/progress.ts';
import type { Log } from '../../log/log.ts';
import type { Config, SinkConfig } from '../../runtime/config.ts';
import { reportError, type ErrorReport } from '../../runtime/report-error.ts';
import { createRedact, secretsOfConfig } from '../../runtime/redact.ts';
import { controlTopics, type Watermark } from '../../schemas/control.ts';
import { formatLsn, parseLsn, type Lsn } from '../../schemas/lsn.ts';
import { parsePosition, type PositionText } from '../../schemas/position.ts';
import type { Checkpoint } from '../../sinks/sink.ts';
import { openLogReader } from '../open-log.ts';

/** How far each stage is. A stage that cannot be read has a problem in its place. */
export interface Status {
  readonly source: Stage<SourceStatus>;
  readonly log: Stage<LogStatus>;
  readonly sinks: Readonly<Record<string, Stage<SinkStatus>>>;
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
}

/** Opens a lake for as long as it takes to read its checkpoint; null when no sink has opened it yet. */
export type ReadCheckpoint = (settings: SinkConfig) => Promise<Checkpoint | null>;

/** Reads every stage that can be read; throws nothing. */
export async function readStatus(config: Config, readCheckpoint: ReadCheckpoint): Promise<Status> {
  const redact = createRedact(secretsOfConfig(config));
  const stage = async <T>(read: () => Promise<T>): Promise<Stage<T>> => {
    try {
      return await read();
    } catch (error) {
      return { problem: reportError(error, redact) };
    }
  };
  const source = await stage(() => readSource(config));
  const log = await stage(() => readLog(config, 'problem' in source ? null : parseLsn(source.lsn)));
  const watermark =
    'problem' in log || log.watermarkLsn === null ? null : parseLsn(log.watermarkLsn);
  const sinks = Object.entries(config.sinks).map(
    async ([name, settings]) =>
      [
        name,
        await stage(async () => sinkStatus(await readCheckpoint(settings), watermark)),
      ] as const,
  );
  return { source, log, sinks: Object.fromEntries(await Promise.all(sinks)) };
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

async function readLog(config: Config, sourceEnd: Lsn | null): Promise<LogStatus> {
  const log = await openLogReader(config);
  try {
    const { prefix } = config.log;
    const control: readonly string[] = Object.values(controlTopics(prefix));
    const topics = [...(await log.ranges())].filter(
      ([topic]) => topic.startsWith(`${prefix}.`) && !control.includes(topic),
    );
    const progress = await readProgress(log, prefix);
    const watermark = await lastWatermark(log, prefix);
    const committedAtUs = watermark?.committedAtUs ?? null;
    return {
      tables: topics.length,
      records: topics
        .flatMap(([, ranges]) => ranges)
        .reduce((sum, { start, end }) => sum + end - start, 0),
      watermarkLsn: watermark?.lsn ?? null,
      committedAt:
        committedAtUs === null
          ? null
          : new Date(Number(BigInt(committedAtUs) / 1000n)).toISOString(),
      behindBytes: watermark === null ? null : distance(parseLsn(watermark.lsn), sourceEnd),
      loading: Object.entries(progress?.snapshot.tables ?? {}).flatMap(([table, { done }]) =>
        done ? [] : [table],
      ),
      parked: Object.entries(progress?.parked ?? {}).map(([table, note]) => ({ table, ...note })),
    };
  } finally {
    await log.close();
  }
}

async function lastWatermark(log: Log, prefix: string): Promise<Watermark | null> {
  const record = await log.lastRecord({ topic: controlTopics(prefix).watermarks, partition: 0 });
  return record === undefined || record.value === null
    ? null
    : (JSON.parse(record.value.toString()) as Watermark);
}

function sinkStatus(checkpoint: Checkpoint | null, watermark: Lsn | null): SinkStatus {
  const { epoch = 0, applied = '0000/0000000000000000/00000000/0' } = checkpoint ?? {};
  // A cut is the last position below an LSN, so one byte above it is where the sink goes on.
  const { commitLsn } = parsePosition(applied);
  const appliedLsn = commitLsn === 0n ? 0n : commitLsn + 1n;
  return {
    epoch,
    applied,
    appliedLsn: formatLsn(appliedLsn),
    behindBytes: distance(appliedLsn, watermark),
  };
}

function distance(from: Lsn | null, to: Lsn | null): number | null {
  if (from === null || to === null) return null;
  return to > from ? Number(to - from) : 0;
}
