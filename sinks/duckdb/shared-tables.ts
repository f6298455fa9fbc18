import type { DuckDBValue } from '@duckdb/node-api';
import { PipelineError } from '../../runtime/errors.ts';
import type { DeadLetter } from '../../schemas/change.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import type { Checkpoint, SinkBatch } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import type { TableLayout } from '../lake/layout.ts';
import { quoteText } from './sql.ts';

/** Schema of what all tables share. The checkpoint is one row: one place says how far the lake is. */
const createSql = /* sql */ `
  create schema if not exists tributary;
  create table if not exists tributary._tributary_checkpoints (
    epoch bigint, applied varchar, applied_lsn varchar, watermark_offset bigint, offsets json,
    floors json, batch_id varchar, updated_at timestamptz);
  create table if not exists tributary._tributary_commits (
    batch_id varchar, cut varchar, lsn varchar, committed_at timestamptz, is_published boolean,
    row_count bigint, table_count integer, dead_letter_count integer, applied_at timestamptz,
    duration_ms double);
  create table if not exists tributary._tributary_watermarks (
    cut varchar, lsn varchar, committed_at timestamptz, batch_id varchar, applied_at timestamptz);
  create table if not exists tributary._tributary_dead_letters (
    topic varchar, partition integer, "offset" bigint, seq varchar, reason varchar, key blob,
    value blob, batch_id varchar, recorded_at timestamptz);
  create table if not exists tributary._tributary_schema_history (
    topic varchar, schema_name varchar, table_name varchar, oid bigint, value_schema_id integer,
    from_seq varchar, notes varchar[], layout json, recorded_at timestamptz)`;

const text = (value: string | null): string => (value === null ? 'null' : quoteText(value));
const moment = (us: bigint | string | null): string =>
  us === null ? 'null' : `make_timestamptz(${BigInt(us)})`;
const bytes = (value: Uint8Array | null): string =>
  value === null ? 'null' : `from_hex('${Buffer.from(value).toString('hex')}')`;

/** How far the lake is, and the floors of its tables by topic. */
export interface StoredCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly floors: Readonly<Record<string, PositionText>>;
}

/** Makes what is missing, raises the epoch and reads the checkpoint, in one transaction. */
export async function takeCheckpoint(lake: LakeConnection): Promise<StoredCheckpoint> {
  await lake.run('begin');
  try {
    await lake.run(createSql);
    await lake.run(/* sql */ `
      insert into tributary._tributary_checkpoints
      select 0, ${quoteText(positionZero)}, '0/0', 0, '{}', '{}', null, now()
      where not exists (from tributary._tributary_checkpoints)`);
    await lake.run(/* sql */ `
      update tributary._tributary_checkpoints set epoch = epoch + 1, updated_at = now()`);
    const stored = await readCheckpoint(lake);
    if (stored === null) throw new PipelineError('sink-corrupt', 'the lake has no checkpoint row');
    await lake.run('commit');
    return stored;
  } catch (error) {
    await lake.run('rollback').catch(() => {});
    throw error;
  }
}

/** The checkpoint as a reader sees it; null in a lake that no sink has opened yet. */
export async function readCheckpoint(lake: LakeConnection): Promise<StoredCheckpoint | null> {
  if (!(await hasTable(lake, '_tributary_checkpoints'))) return null;
  const [row] = await lake.rows(/* sql */ `
    select epoch, applied, watermark_offset, offsets::varchar as offsets, floors::varchar as floors
    from tributary._tributary_checkpoints`);
  if (row === undefined) return null;
  return {
    checkpoint: {
      epoch: Number(row['epoch']),
      applied: String(row['applied']),
      watermarkOffset: Number(row['watermark_offset']),
      offsets: JSON.parse(String(row['offsets'])) as Checkpoint['offsets'],
    },
    floors: JSON.parse(String(row['floors'])) as StoredCheckpoint['floors'],
  };
}

async function hasTable(lake: LakeConnection, name: string): Promise<boolean> {
  const found = await lake.rows(/* sql */ `
    select 1 from information_schema.tables
    where table_catalog = current_database() and table_schema = 'tributary'
      and table_name = ${quoteText(name)}`);
  return found.length > 0;
}

/** Throws `sink-fenced` when another owner has raised the epoch. */
export async function refuseWhenFenced(lake: LakeConnection, epoch: number): Promise<void> {
  const [row] = await lake.rows('select epoch from tributary._tributary_checkpoints');
  const stored = Number(row?.['epoch']);
  if (stored !== epoch) throw fencedError(epoch, stored);
}

export function fencedError(epoch: number, stored?: number): PipelineError {
  const by = stored === undefined ? '' : ` of epoch ${stored}`;
  return new PipelineError(
    'sink-fenced',
    `the lake of epoch ${epoch} was taken over by another owner${by}`,
    { context: { epoch, ...(stored === undefined ? {} : { stored }) } },
  );
}

/** What goes into the ledger of a batch. */
export interface LedgerEntry {
  readonly batch: SinkBatch;
  readonly floors: Readonly<Record<string, PositionText>>;
  readonly durationMs: number;
}

export async function writeLedger(lake: LakeConnection, entry: LedgerEntry): Promise<void> {
  const { batch, durationMs } = entry;
  const { cut, tables, deadLetters } = batch;
  const rowCount = tables.reduce((sum, table) => sum + table.changes.length, 0);
  await lake.run(/* sql */ `
    insert into tributary._tributary_commits values (${quoteText(batch.id)}, ${quoteText(cut.cut)},
      ${quoteText(cut.lsn)}, ${moment(cut.committedAtUs)}, ${cut.publish}, ${rowCount},
      ${tables.length}, ${deadLetters.length}, now(), ${durationMs.toFixed(3)})`);
}

/** Moves the checkpoint and publishes the cut. The update is the fence: it conflicts with another owner's. */
export async function publishCut(lake: LakeConnection, entry: LedgerEntry): Promise<void> {
  const { batch, floors } = entry;
  const { checkpoint, cut } = batch;
  const moved = await lake.run(/* sql */ `
    update tributary._tributary_checkpoints
    set applied = ${quoteText(checkpoint.applied)}, applied_lsn = ${quoteText(cut.lsn)},
      watermark_offset = ${checkpoint.watermarkOffset},
      offsets = ${quoteText(JSON.stringify(checkpoint.offsets))},
      floors = ${quoteText(JSON.stringify(floors))}, batch_id = ${quoteText(batch.id)},
      updated_at = now()
    where epoch = ${checkpoint.epoch}`);
  if (moved !== 1) throw fencedError(checkpoint.epoch);
  await lake.run(/* sql */ `
    insert into tributary._tributary_watermarks values (${quoteText(cut.cut)},
      ${quoteText(cut.lsn)}, ${moment(cut.committedAtUs)}, ${quoteText(batch.id)}, now())`);
}

export async function writeDeadLetters(
  lake: LakeConnection,
  letters: readonly DeadLetter[],
  batchId: string,
): Promise<void> {
  for (const letter of letters) {
    await lake.run(/* sql */ `
      insert into tributary._tributary_dead_letters values (${quoteText(letter.topic)},
        ${letter.partition}, ${letter.offset}, ${text(letter.seq)}, ${quoteText(letter.reason)},
        ${bytes(letter.key)}, ${bytes(letter.value)}, ${quoteText(batchId)}, now())`);
  }
}

export async function recordLayout(
  lake: LakeConnection,
  layout: TableLayout,
  notes: readonly string[],
): Promise<void> {
  await lake.run(/* sql */ `
    insert into tributary._tributary_schema_history values (${quoteText(layout.topic)},
      ${quoteText(layout.schema)}, ${quoteText(layout.name)}, ${layout.oid},
      ${layout.valueSchemaId}, ${quoteText(layout.from)},
      [${notes.map(quoteText).join(', ')}]::varchar[], ${quoteText(JSON.stringify(layout))}, now())`);
}

/** All layouts in the order of their positions; none in a lake that no sink has opened yet. */
export async function readLayouts(lake: LakeConnection): Promise<readonly TableLayout[]> {
  if (!(await hasTable(lake, '_tributary_schema_history'))) return [];
  const rows = await lake.rows(/* sql */ `
    select layout::varchar as layout from tributary._tributary_schema_history order by from_seq`);
  return rows.map((row: Record<string, DuckDBValue>) => {
    return JSON.parse(String(row['layout'])) as TableLayout;
  });
}
