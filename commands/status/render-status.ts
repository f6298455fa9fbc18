import { formatDuration, formatSize } from '../../runtime/config/quantity.ts';
import type {
  LogStatus,
  SinkStatus,
  SourceStatus,
  Stage,
  Status,
  WorkerStatus,
} from './read-status.ts';

const labelWidth = 12;
const lsnWidth = 18;

/** A block a stage, a line a position: how far it is and how far behind the stage before. */
export function renderStatus(status: Status): string {
  return [
    ...block('source', status.source, sourceLines),
    ...block('log', status.log, logLines),
    ...Object.entries(status.sinks).flatMap(([name, sink]) => [
      ...block(`sink ${name}`, sink, sinkLines),
      ...(status.workers[name] ?? []).map(workerLine),
    ]),
  ].join('\n');
}

function block<T extends object>(
  title: string,
  stage: Stage<T>,
  lines: (stage: T) => readonly string[],
): string[] {
  if ('problem' in stage) {
    const { message, kind, hint } = stage.problem;
    return [title, `  ${message} (${kind})`, `  hint: ${hint}`];
  }
  return [title, ...lines(stage)];
}

function sourceLines({ lsn, slot }: SourceStatus): readonly string[] {
  const end = line('WAL end', lsn, '');
  if (slot === null)
    return [end, line('confirmed', 'none', 'the slot does not exist yet: capture makes it')];
  const { confirmedLsn, unconfirmedBytes, name, isActive, walStatus, retainedBytes } = slot;
  const reader = isActive ? 'in use' : 'not in use';
  const kept = retainedBytes === null ? '' : `, keeps ${formatSize(retainedBytes)} of WAL`;
  const state = walStatus === null || walStatus === 'reserved' ? '' : `, WAL ${walStatus}`;
  return [
    end,
    line('confirmed', confirmedLsn ?? 'none', behind(unconfirmedBytes)),
    line('slot', name, `${reader}${kept}${state}`),
  ];
}

function logLines(log: LogStatus): readonly string[] {
  const { watermarkLsn, behindBytes, committedAt, watermarkAt, tables, records, loading, parked } =
    log;
  const newest = committedAt === null ? '' : `, newest commit ${committedAt}`;
  const written = watermarkAt === null ? '' : `, written ${watermarkAt}`;
  const first =
    loading.length === 0 ? [] : [line('first load', `${loading.length} to go`, loading.join(', '))];
  return [
    line('watermark', watermarkLsn ?? 'none', `${behind(behindBytes)}${newest}${written}`),
    line(
      'holds',
      tables === 1 ? '1 table' : `${tables} tables`,
      `${records.toLocaleString('en-US')} records`,
    ),
    ...first,
    ...parked.map(({ table, reason }) => line('parked', table, reason)),
  ];
}

function sinkLines(sink: SinkStatus): readonly string[] {
  const { appliedLsn, behindBytes, behindMs, committedAt, epoch } = sink;
  if (epoch === 0) return [line('applied', appliedLsn, 'nothing is loaded yet')];
  const time = behindMs === null ? '' : `, ${formatDuration(Math.round(behindMs))} of commits`;
  const newest = committedAt === null ? '' : `, newest commit ${committedAt}`;
  const applied = line('applied', appliedLsn, `${behind(behindBytes)}${time}${newest}`);
  return [applied, ...costLines(sink.costs)];
}

function costLines(costs: SinkStatus['costs']): readonly string[] {
  if (costs === null) return [];
  const { batches, loads, bytesBilled, bytesPerBatch } = costs.lastHour;
  const each = bytesPerBatch === null ? '' : `, ${formatSize(Math.round(bytesPerBatch))} a batch`;
  const hour = `billed in the last hour${each}; ${batches} batches, ${loads} loads (${costs.lastDay.loads} in a day)`;
  const { spacing } = costs;
  const pace =
    spacing === null
      ? []
      : [
          line(
            'waits',
            formatDuration(Math.round(spacing.ms)),
            `between batches: ${spacing.limit}`,
          ),
        ];
  return [line('cost', formatSize(bytesBilled), hour), ...pace];
}

function workerLine({ host, pid, state, shares, seenMsAgo }: WorkerStatus): string {
  const ago = formatDuration(Math.round(seenMsAgo));
  const texts: Record<WorkerStatus['state'], string> = {
    loading: shares.length === 1 ? 'loads' : `loads ${shares.length} shares`,
    standby: 'stands by',
    silent: `silent for ${ago}: another takes over`,
    ended: 'has ended',
  };
  return line('worker', String(pid), `on ${host}, ${texts[state]}`);
}

const behind = (bytes: number | null): string =>
  bytes === null ? '' : `${formatSize(bytes)} behind`;

const line = (label: string, value: string, more: string): string =>
  `  ${label.padEnd(labelWidth)}${value.padEnd(lsnWidth)}${more}`.trimEnd();
