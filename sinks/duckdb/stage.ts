import {
  BIGINT,
  type DuckDBDataChunk,
  DuckDBTimestampTZValue,
  type DuckDBType,
  type DuckDBValue,
  INTEGER,
  TIMESTAMPTZ,
  UBIGINT,
  UTINYINT,
  VARCHAR,
} from '@duckdb/node-api';
import type { Change, RowImage, Value } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import type { FoldedRow, TableBatch } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import { type ColumnEncoder, columnEncoder, encodeValue, stagedType } from './encode.ts';
import type { VersionLayout } from '../lake/layout.ts';
import {
  baseTable,
  createStageSql,
  removedTable,
  type StageColumn,
  stagedName,
  stagedOps,
  stageTable,
  type StageTraits,
  toChanges,
  toDeleted,
  toState,
} from './sql.ts';

/** One row of the staging table: for `T__changes`, for `T__state`, or for both. */
interface StagedRow {
  readonly image: RowImage;
  readonly change: Change;
  /** Number of its set of unchanged columns; 0 = none. */
  unchanged: number;
  to: number;
}

interface Staging {
  readonly rows: StagedRow[];
  /** Rows whose unchanged columns come from a stored row, with that row's key. */
  readonly bases: { readonly n: number; readonly key: RowImage }[];
  readonly sets: (readonly number[])[];
  readonly setNumbers: Map<string, number>;
}

/**
 * Fills the temporary staging tables with one table's part of a batch. A row that goes into the
 * changes and, as it is, into the state is staged once: that is most of them.
 */
export async function stageBatch(
  lake: LakeConnection,
  layout: VersionLayout,
  batch: TableBatch,
): Promise<StagedBatch> {
  const staging: Staging = { rows: [], bases: [], sets: [], setNumbers: new Map() };
  const place = new Map<Change, number>();
  for (const change of batch.changes) {
    place.set(change, staging.rows.length);
    const unchanged = 'unchanged' in change ? setNumber(staging, change.unchanged) : 0;
    staging.rows.push({ image: imageOf(change), change, unchanged, to: toChanges });
  }
  for (const row of batch.fold.rows) stageFolded(staging, row, place.get(row.change));
  for (const { change, image } of batch.fold.added) {
    stageState(staging, { image, change, unchanged: 0, to: toState }, place.get(change));
  }
  const writer = new ImageWriter(layout);
  await writeRows(lake, staging, writer);
  if (staging.bases.length > 0) await writeBases(lake, staging, writer);
  const { removed } = batch.fold;
  if (removed.length > 0) await writeRemoved(lake, removed, writer);
  return {
    traits: {
      unchangedSets: staging.sets,
      hasExactKeys: writer.hasExactKeys,
      hasExact: writer.hasExact || staging.bases.length > 0,
    },
    hasBases: staging.bases.length > 0,
  };
}

export interface StagedBatch {
  readonly traits: StageTraits;
  /** Some unchanged columns have to be taken from stored rows. */
  readonly hasBases: boolean;
}

const noImage: RowImage = [];

function imageOf(change: Change): RowImage {
  if (change.op === 't') return noImage;
  return change.op === 'd' ? change.before : change.after;
}

function setNumber(staging: Staging, unchanged: readonly number[]): number {
  if (unchanged.length === 0) return 0;
  const name = unchanged.join();
  const known = staging.setNumbers.get(name);
  if (known !== undefined) return known;
  const number = staging.sets.push(unchanged);
  staging.setNumbers.set(name, number);
  return number;
}

function stageFolded(staging: Staging, row: FoldedRow, at: number | undefined): void {
  const { change } = row;
  if (row.deleted) {
    // The tombstone keeps what the source sent of the row: the key at least.
    const image = change.op === 'd' ? change.before : row.key;
    stageState(staging, { image, change, unchanged: 0, to: toState | toDeleted }, at);
    return;
  }
  const unchanged = setNumber(staging, row.unchanged);
  const n = stageState(staging, { image: row.image, change, unchanged, to: toState }, at);
  if (row.unchanged.length > 0) staging.bases.push({ n, key: row.baseKey });
}

/** Uses the row that is staged for the changes if it is the same; gives its number. */
function stageState(staging: Staging, row: StagedRow, at: number | undefined): number {
  const staged = at === undefined ? undefined : staging.rows[at];
  // Rows that differ in `unchanged` only for the changes table are few: they are staged twice.
  const isSame =
    staged !== undefined &&
    staged.unchanged === row.unchanged &&
    isSameImage(staged.image, row.image);
  if (!isSame || at === undefined) return staging.rows.push(row) - 1;
  staged.to |= row.to;
  return at;
}

function isSameImage(one: RowImage, other: RowImage): boolean {
  if (one === other) return true;
  return one.length === other.length && one.every((value, index) => value === other[index]);
}

/** Writes row images into chunks, and remembers what was special about them. */
class ImageWriter {
  readonly columns: readonly StageColumn[];
  readonly types: readonly DuckDBType[];
  hasExact = false;
  hasExactKeys = false;
  readonly #encoders: readonly {
    readonly encoder: ColumnEncoder;
    readonly type: LogicalType;
    readonly physical: string;
    readonly isKey: boolean;
  }[];
  readonly #cells: DuckDBValue[] = [];

  constructor(layout: VersionLayout) {
    this.#encoders = layout.columns.map(({ type, physical, isKey }) => {
      return { encoder: columnEncoder(type), type, physical, isKey };
    });
    this.columns = layout.columns.map(({ type }, index) => {
      return { name: stagedName(index), type: stagedType(type) };
    });
    this.types = this.#encoders.map(({ encoder }) => encoder.vector);
  }

  /** Writes the images' columns, from chunk column 0 on; gives the `_exact` text of each row. */
  write(chunk: DuckDBDataChunk, images: readonly RowImage[]): readonly (string | null)[] {
    const exacts: Record<string, string>[] = [];
    for (const [index, column] of this.#encoders.entries()) {
      const { encoder, type, physical, isKey } = column;
      const cells = this.#cells;
      cells.length = images.length;
      for (let row = 0; row < images.length; row += 1) {
        const value: Value = images[row]?.[index] ?? null;
        const cell = value === null ? null : encoder.plain(value);
        if (cell !== undefined) {
          cells[row] = cell;
        } else if (value !== null) {
          const stored = encodeValue(type, value);
          cells[row] = stored.cell;
          (exacts[row] ??= {})[physical] = stored.exact ?? '';
          this.hasExact = true;
          if (isKey) this.hasExactKeys = true;
        }
      }
      chunk.setColumnValues(index, cells);
    }
    return images.map((_, row) => {
      const exact = exacts[row];
      return exact === undefined ? null : JSON.stringify(exact);
    });
  }
}

const exactColumn: StageColumn = { name: '_exact', type: 'json' };
const numberColumn: StageColumn = { name: '_n', type: 'integer' };

const originColumns: readonly (readonly [
  StageColumn,
  DuckDBType,
  (row: StagedRow, n: number) => DuckDBValue,
])[] = [
  [{ name: '_to', type: 'utinyint' }, UTINYINT, ({ to }) => to],
  [{ name: '_op', type: 'utinyint' }, UTINYINT, ({ change }) => stagedOps.indexOf(change.op) + 1],
  [{ name: '_seq', type: 'varchar' }, VARCHAR, ({ change }) => change.seq],
  [{ name: '_lsn', type: 'ubigint' }, UBIGINT, ({ change }) => change.lsn],
  [{ name: '_xid', type: 'bigint' }, BIGINT, ({ change }) => change.xid],
  [
    { name: '_committed', type: 'timestamptz' },
    TIMESTAMPTZ,
    ({ change: { committedAtUs: us } }) => (us === null ? null : new DuckDBTimestampTZValue(us)),
  ],
  [
    { name: '_captured', type: 'timestamptz' },
    TIMESTAMPTZ,
    ({ change }) => new DuckDBTimestampTZValue(change.capturedAtUs),
  ],
  [{ name: '_partition', type: 'integer' }, INTEGER, ({ change }) => change.partition],
  [{ name: '_offset', type: 'bigint' }, BIGINT, ({ change }) => BigInt(change.offset)],
];

async function writeRows(lake: LakeConnection, staging: Staging, writer: ImageWriter) {
  const { rows, sets } = staging;
  const origin = [...originColumns];
  if (sets.length > 0) {
    origin.push([{ name: '_unchanged', type: 'integer' }, INTEGER, (row) => row.unchanged]);
  }
  if (staging.bases.length > 0) origin.push([numberColumn, INTEGER, (_, n) => n]);
  const columns = [...writer.columns, exactColumn, ...origin.map(([column]) => column)];
  const types = [...writer.types, VARCHAR, ...origin.map(([, type]) => type)];
  await lake.run(createStageSql(stageTable, columns));
  const exactAt = writer.types.length;
  await lake.appendToTemporary({
    table: stageTable,
    types,
    rowCount: rows.length,
    fill: (chunk, from, count) => {
      const part = rows.slice(from, from + count);
      chunk.setColumnValues(
        exactAt,
        writer.write(
          chunk,
          part.map(({ image }) => image),
        ),
      );
      for (const [index, [, , read]] of origin.entries()) {
        const cells = part.map((row, at) => read(row, from + at));
        chunk.setColumnValues(exactAt + 1 + index, cells);
      }
    },
  });
}

async function writeBases(lake: LakeConnection, { bases }: Staging, writer: ImageWriter) {
  await writeImages(lake, writer, {
    table: baseTable,
    images: bases.map(({ key }) => key),
    numbers: bases.map(({ n }) => n),
  });
}

async function writeRemoved(
  lake: LakeConnection,
  removed: readonly RowImage[],
  writer: ImageWriter,
) {
  const numbers = removed.map((_, index) => index);
  await writeImages(lake, writer, { table: removedTable, images: removed, numbers });
}

interface StagedImages {
  readonly table: string;
  readonly images: readonly RowImage[];
  readonly numbers: readonly number[];
}

async function writeImages(lake: LakeConnection, writer: ImageWriter, staged: StagedImages) {
  const { table, images, numbers } = staged;
  await lake.run(createStageSql(table, [...writer.columns, exactColumn, numberColumn]));
  const exactAt = writer.types.length;
  await lake.appendToTemporary({
    table,
    types: [...writer.types, VARCHAR, INTEGER],
    rowCount: images.length,
    fill: (chunk, from, count) => {
      const exacts = writer.write(chunk, images.slice(from, from + count));
      chunk.setColumnValues(exactAt, exacts);
      chunk.setColumnValues(exactAt + 1, numbers.slice(from, from + count));
    },
  });
}
