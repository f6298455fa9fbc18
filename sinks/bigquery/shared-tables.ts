import { randomUUID } from 'node:crypto';
import { PipelineError } from '../../runtime/errors.ts';
import { type PositionText, positionZero } from '../../schemas/position.ts';
import { tableName, type TableSchema } from '../../schemas/table-schema.ts';
import type { TableLayout } from '../lake/layout.ts';
import { firstCheckpoint, mergeOffsets } from '../checkpoint.ts';
import { shareOf } from '../shares.ts';
import type { Checkpoint, SinkBatch } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import { reasonOf } from './errors.ts';
import type { PaceReport } from './load-pace.ts';
import { quoteText, relation } from './sql.ts';
import type { StatePlaces } from './state-place.ts';

/** One for each table that others make at the same time, and one more. */
const createAttemptsMax = 7;

/** Which tables a share has for itself: two transactions that change one table cannot both commit. */
export interface ShareTables {
  readonly dataset: string;
  /** 0 for the only one. */
  readonly share: number;
  /** Number of shares that the lake is divided into. */
  readonly shares: number;
}

const named = ({ dataset, share }: ShareTables, name: string): string =>
  relation(dataset, share === 0 ? name : `${name}_${share}`);
const checkpointsOf = (tables: ShareTables) => named(tables, '_tributary_checkpoints');
export const streamsOf = (tables: ShareTables) => named(tables, '_tributary_streams');
export const commitsOf = ({ dataset }: Pick<ShareTables, 'dataset'>) =>
  relation(dataset, '_tributary_commits');
const watermarksOf = ({ dataset }: ShareTables) => relation(dataset, '_tributary_watermarks');
export const lettersOf = ({ dataset }: ShareTables) => relation(dataset, '_tributary_dead_letters');
export const settledOf = ({ dataset }: ShareTables) => relation(dataset, '_tributary_settled_rows');
const sharesOf = ({ dataset }: Pick<ShareTables, 'dataset'>) =>
  relation(dataset, '_tributary_shares');
const historyOf = ({ dataset }: Pick<ShareTables, 'dataset'>) =>
  relation(dataset, '_tributary_schema_history');

/** Of the ledger; a lake of an older version gets them. */
const costColumns = [
  'load_count int64',
  'bytes_processed int64',
  'bytes_billed int64',
  'spacing_ms float64',
  'spacing_limit string',
] as const;

/**
 * The checkpoint's one row comes with its table: two owners that start at once cannot make two. The
 * other tables are only inserted into, which conflicts with nobody.
 */
function createSql(tables: ShareTables): string {
  return /* sql */ `
    create table if not exists ${sharesOf(tables)} as select ${tables.shares} as share_count;
    create table if not exists ${checkpointsOf(tables)} as
      select 0 as epoch, '' as owner, ${quoteText(positionZero)} as applied, '0/0' as applied_lsn,
        0 as watermark_offset, '{}' as offsets, '{}' as floors, '{}' as states,
        '' as batch_id, '' as policy,
        current_timestamp() as updated_at;
    alter table ${checkpointsOf(tables)} add column if not exists policy string;
    create table if not exists ${commitsOf(tables)} (
      batch_id string, cut string, lsn string, committed_at timestamp, is_published bool,
      row_count int64, table_count int64, dead_letter_count int64, applied_at timestamp,
      duration_ms float64, ${costColumns.join(', ')});
    alter table ${commitsOf(tables)}
      ${costColumns.map((column) => `add column if not exists ${column}`).join(', ')};
    create table if not exists ${watermarksOf(tables)} (
      cut string, lsn string, committed_at timestamp, batch_id string, applied_at timestamp);
    create table if not exists ${lettersOf(tables)} (
      topic string, \`partition\` int64, \`offset\` int64, seq string, reason string, key bytes,
      value bytes, batch_id string, recorded_at timestamp);
    create table if not exists ${settledOf(tables)} (
      topic string, key string, seq string, batch_id string, recorded_at timestamp);
    create table if not exists ${historyOf(tables)} (
      topic string, schema_name string, table_name string, oid int64, value_schema_id int64,
      from_seq string, notes array<string>, layout string, recorded_at timestamp)`;
}

/** Condition on `T__changes`: the change belongs to what readers see of the rows. */
export const isPublishedSql = (tables: ShareTables): string =>
  `_cdc_seq <= (select applied from ${checkpointsOf(tables)})`;

const moment = (us: bigint | string | null): string =>
  us === null ? 'null' : `timestamp_micros(${BigInt(us)})`;
/** How far the lake is, and the floors of its tables by topic. */
export interface StoredCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly floors: Readonly<Record<string, PositionText>>;
  readonly states: StatePlaces;
  readonly batchId: string;
}

export interface TakenCheckpoint extends StoredCheckpoint {
  readonly owner: string;
  /** Settings of columns by which changes above the checkpoint were streamed. */
  readonly policyText: string;
}

/** Makes what is missing, raises the epoch and reads the checkpoint. Throws `sink-fenced` when another owner did so too. */
export async function takeCheckpoint(
  lake: LakeConnection,
  tables: ShareTables,
): Promise<TakenCheckpoint> {
  await createTables(lake, tables);
  refuseOtherShares(tables.shares, await readShareCount(lake));
  const owner = randomUUID();
  await lake.run(/* sql */ `
    update ${checkpointsOf(tables)}
    set epoch = epoch + 1, owner = ${quoteText(owner)}, updated_at = current_timestamp()
    where true`);
  const [row] = await lake.rows(/* sql */ `select owner, policy from ${checkpointsOf(tables)}`);
  const stored = await readCheckpoint(lake, tables);
  if (stored === null) throw new PipelineError('sink-corrupt', 'the lake has no checkpoint row');
  if (row?.[0] !== owner) throw fencedError(stored.checkpoint.epoch - 1, stored.checkpoint.epoch);
  return { ...stored, owner, policyText: row[1] ?? '' };
}

/** Owners of several shares start at once: of two that make one table, one is told that it exists. */
async function createTables(lake: LakeConnection, tables: ShareTables): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await lake.run(createSql(tables));
      return;
    } catch (error) {
      if (reasonOf(error) !== 'duplicate' || attempt === createAttemptsMax) throw error;
    }
  }
}

/** Number of shares that the lake is loaded with; null in one that no sink has opened yet. */
async function readShareCount(lake: LakeConnection): Promise<number | null> {
  const shares = sharesOf(lake);
  if (!(await lake.hasTable(shares))) return null;
  const [row] = await lake.rows(/* sql */ `select share_count from ${shares}`);
  return Number(row?.[0] ?? 1);
}

/** The share that a table of the lake is in. */
export async function sharePartOf(
  lake: LakeConnection,
  table: Pick<TableSchema, 'schema' | 'name'>,
): Promise<ShareTables> {
  const shares = (await readShareCount(lake)) ?? 1;
  return { dataset: lake.dataset, share: shareOf(tableName(table), shares), shares };
}

/** A table's share follows from their number: with another one its changes would come from two places. */
function refuseOtherShares(given: number, stored: number | null): void {
  if (stored === null || stored === given) return;
  throw new PipelineError(
    'sink-refused',
    `the lake is loaded in ${stored} shares, and ${given} are configured`,
    {
      hint: `set sinks.<name>.shares: ${stored}, or load into a new dataset`,
      context: { stored, given },
    },
  );
}

/**
 * How far all shares are: as far as the one that is furthest behind, which may be one that has not begun.
 * Null in a lake that no sink has opened yet.
 */
export async function readLakeCheckpoint(lake: LakeConnection): Promise<Checkpoint | null> {
  const { dataset } = lake;
  const shares = (await readShareCount(lake)) ?? 1;
  const reads = Array.from({ length: shares }, (_, share) =>
    readCheckpoint(lake, { dataset, share, shares }),
  );
  const stored = await Promise.all(reads);
  if (stored.every((one) => one === null)) return null;
  const checkpoints = stored.map((one) => one?.checkpoint ?? firstCheckpoint(0));
  return checkpoints.reduce((least, one) => ({
    ...(one.applied < least.applied ? one : least),
    offsets: mergeOffsets(least.offsets, one.offsets),
  }));
}

/** Loads of all shares in the last day, as far as the ledger knows. */
export async function readLoadsToday(lake: LakeConnection, tables: ShareTables): Promise<number> {
  const [row] = await lake.rows(/* sql */ `
    select coalesce(sum(load_count), 0) from ${commitsOf(tables)}
    where applied_at > timestamp_sub(current_timestamp(), interval 24 hour)`);
  return Number(row?.[0] ?? 0);
}

/** The checkpoint of a share as a reader sees it; null in a lake that no sink has opened yet. */
export async function readCheckpoint(
  lake: LakeConnection,
  tables: ShareTables,
): Promise<StoredCheckpoint | null> {
  if (!(await lake.hasTable(checkpointsOf(tables)))) return null;
  const [row] = await lake.rows(/* sql */ `
    select epoch, applied, watermark_offset, offsets, floors, states, batch_id
    from ${checkpointsOf(tables)}`);
  if (row === undefined) return null;
  const [epoch, applied, watermarkOffset, offsets, floors, states, batchId] = row;
  return {
    checkpoint: {
      epoch: Number(epoch),
      applied: String(applied),
      watermarkOffset: Number(watermarkOffset),
      offsets: JSON.parse(String(offsets)) as Checkpoint['offsets'],
    },
    floors: JSON.parse(String(floors)) as StoredCheckpoint['floors'],
    states: JSON.parse(String(states)) as StatePlaces,
    batchId: String(batchId),
  };
}

/** The checkpoint as it is now. Throws `sink-fenced` when another owner has raised the epoch. */
export async function refuseOtherEpoch(
  lake: LakeConnection,
  tables: ShareTables,
  epoch: number,
): Promise<StoredCheckpoint> {
  const stored = await readCheckpoint(lake, tables);
  if (stored !== null && stored.checkpoint.epoch === epoch) return stored;
  throw fencedError(epoch, stored?.checkpoint.epoch);
}

function fencedError(epoch: number, stored?: number): PipelineError {
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
  readonly states: StatePlaces;
  readonly durationMs: number;
  /** Since the entry before: the publication of that one included, which is billed after it is written. */
  readonly pace: PaceReport;
}

export function ledgerSql(tables: ShareTables, { batch, durationMs, pace }: LedgerEntry): string {
  const { cut, deadLetters } = batch;
  const rowCount = batch.tables.reduce((sum, table) => sum + table.changes.length, 0);
  return /* sql */ `
    insert into ${commitsOf(tables)} (batch_id, cut, lsn, committed_at, is_published, row_count,
      table_count, dead_letter_count, applied_at, duration_ms, load_count, bytes_processed,
      bytes_billed, spacing_ms, spacing_limit)
    values (${quoteText(batch.id)}, ${quoteText(cut.cut)}, ${quoteText(cut.lsn)},
      ${moment(cut.committedAtUs)}, ${cut.publish}, ${rowCount}, ${batch.tables.length},
      ${deadLetters.length}, current_timestamp(), ${durationMs.toFixed(3)}, ${pace.loads},
      ${pace.bytesProcessed}, ${pace.bytesBilled}, ${pace.spacing.ms.toFixed(3)},
      ${quoteText(pace.spacing.limit)})`;
}

/** Moves the checkpoint and publishes the cut. The update is the fence: it conflicts with another owner's. */
export function publishSql(
  tables: ShareTables,
  { batch, floors, states }: LedgerEntry,
): readonly string[] {
  const { checkpoint, cut } = batch;
  const update = /* sql */ `
    update ${checkpointsOf(tables)}
    set applied = ${quoteText(checkpoint.applied)}, applied_lsn = ${quoteText(cut.lsn)},
      watermark_offset = ${checkpoint.watermarkOffset},
      offsets = ${quoteText(JSON.stringify(checkpoint.offsets))},
      floors = ${quoteText(JSON.stringify(floors))},
      states = ${quoteText(JSON.stringify(states))}, batch_id = ${quoteText(batch.id)},
      updated_at = current_timestamp()
    where epoch = ${checkpoint.epoch}`;
  const insert = /* sql */ `
    insert into ${watermarksOf(tables)} (cut, lsn, committed_at, batch_id, applied_at)
    values (${quoteText(cut.cut)}, ${quoteText(cut.lsn)}, ${moment(cut.committedAtUs)},
      ${quoteText(batch.id)}, current_timestamp())`;
  return [update, insert];
}

/** Nothing when another owner has raised the epoch. */
export const setPolicySql = (
  tables: ShareTables,
  { epoch, policyText }: { readonly epoch: number; readonly policyText: string },
): string =>
  `update ${checkpointsOf(tables)} set policy = ${quoteText(policyText)} where epoch = ${epoch}`;

/** Says where the rows of tables are from now on; also a fence, as in `publishSql`. */
export const placeStatesSql = (tables: ShareTables, states: StatePlaces): string =>
  `update ${checkpointsOf(tables)} set states = ${quoteText(JSON.stringify(states))} where true`;

/**
 * One transaction that does nothing unless the checkpoint is where this owner left it. Whether it did is
 * then read from the checkpoint, as after a reply that was lost.
 */
export function guardedScript(
  tables: ShareTables,
  from: { readonly epoch: number; readonly applied: PositionText },
  statements: readonly string[],
): string {
  return /* sql */ `
    begin transaction;
    if (select count(*) from ${checkpointsOf(tables)}
        where epoch = ${from.epoch} and applied = ${quoteText(from.applied)}) = 1 then
      ${statements.map((statement) => `${statement};`).join('\n')}
    end if;
    commit transaction;`;
}

export function recordLayoutSql(
  tables: ShareTables,
  layout: TableLayout,
  notes: readonly string[],
): string {
  return /* sql */ `
    insert into ${historyOf(tables)} (topic, schema_name, table_name, oid, value_schema_id, from_seq,
      notes, layout, recorded_at)
    values (${quoteText(layout.topic)}, ${quoteText(layout.schema)}, ${quoteText(layout.name)},
      ${layout.oid}, ${layout.valueSchemaId}, ${quoteText(layout.from)},
      [${notes.map(quoteText).join(', ')}], ${quoteText(JSON.stringify(layout))},
      current_timestamp())`;
}

/** All layouts in the order of their positions; none in a lake that no sink has opened yet. */
export async function readLayouts(
  lake: LakeConnection,
  tables: Pick<ShareTables, 'dataset'>,
): Promise<readonly TableLayout[]> {
  if (!(await lake.hasTable(historyOf(tables)))) return [];
  const rows = await lake.rows(
    /* sql */ `select layout from ${historyOf(tables)} order by from_seq`,
  );
  return rows.map(([layout = null]) => JSON.parse(String(layout)) as TableLayout);
}

/** Whether the share has this table. */
export const isOfShare = ({ share, shares }: ShareTables, table: TableLayout): boolean =>
  shareOf(tableName(table), shares) === share;
