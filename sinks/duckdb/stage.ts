import { BIGINT, INTEGER, TIMESTAMPTZ, UBIGINT, UTINYINT, VARCHAR } from '@duckdb/node-api';
import { assert } from '../../runtime/assert.ts';
import type { Change, RowImage, Value } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import type { FoldedRow, TableBatch } from '../sink.ts';
import type { LakeConnection } from './client.ts';
import { type ColumnEncoder, columnEncoder, encodeValue, stagedType } from './encode.ts';
import type { VersionLayout } from '../lake/layout.ts';
import {
  baseTable,
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
import type { Cell, ColumnWriter } from './vectors.ts';

/**
 * Rows of the staging table, by number: each for `T__changes`, for `T__state`, or for both. Arrays and no
 * objects, of which there would be one a row for as long as the batch lasts.
 */
interface Staging {
  readonly images: RowImage[];
  readonly changes: Change[];
  /** Number of the row's set of unchanged columns; 0 = none. */
  readonly unchanged: number[];
  readonly to: number[];
  /** Rows whose unchanged columns come from a stored row, with that row's key. */
  readonly bases: { readonly n: number; readonly key: RowImage }[];
  readonly sets: (readonly number[])[];
  readonly setNumbers: Map<string, number>;
}

interface StagedRow {
  readonly image: RowImage;
  readonly change: Change;
  readonly unchanged: number;
  readonly to: number;
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
  const { changes, fold } = batch;
  const staging: Staging = {
    images: changes.map(imageOf),
    changes: [...changes],
    unchanged: [],
    to: changes.map(() => toChanges),
    bases: [],
    sets: [],
    setNumbers: new Map(),
  };
  for (const change of changes) {
    staging.unchanged.push('unchanged' in change ? setNumber(staging, change.unchanged) : 0);
  }
  const placeOfRow = placesIn(changes);
  for (const row of fold.rows) stageFolded(staging, row, placeOfRow(row.change));
  const placeOfAdded = placesIn(changes);
  for (const { change, image } of fold.added) {
    stageState(staging, { image, change, unchanged: 0, to: toState }, placeOfAdded(change));
  }
  const writer = new ImageWriter(layout);
  await writeRows(lake, staging, writer);
  if (staging.bases.length > 0) await writeBases(lake, staging, writer);
  if (fold.removed.length > 0) await writeRemoved(lake, fold.removed, writer);
  return {
    traits: {
      unchangedSets: staging.sets,
      hasExactKeys: writer.hasExactKeys,
      hasExact: writer.hasExact || staging.bases.length > 0,
    },
    hasBases: staging.bases.length > 0,
  };
}

/** Where each of some changes is among all of them; both in the same order. */
function placesIn(changes: readonly Change[]): (change: Change) => number {
  let place = -1;
  return (change) => {
    do place += 1;
    while (place < changes.length && changes[place] !== change);
    assert(place < changes.length, 'what changes come to is in their order');
    return place;
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

function stageFolded(staging: Staging, row: FoldedRow, at: number): void {
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
function stageState(staging: Staging, row: StagedRow, at: number): number {
  // Rows that differ in `unchanged` only for the changes table are few: they are staged twice.
  if (
    staging.unchanged[at] === row.unchanged &&
    isSameImage(staging.images[at] ?? noImage, row.image)
  ) {
    staging.to[at] = row.to | toChanges;
    return at;
  }
  staging.images.push(row.image);
  staging.changes.push(row.change);
  staging.unchanged.push(row.unchanged);
  return staging.to.push(row.to) - 1;
}

function isSameImage(one: RowImage, other: RowImage): boolean {
  if (one === other) return true;
  return one.length === other.length && one.every((value, index) => value === other[index]);
}

/** Rows [from, from + count) of images; the first goes into the first row of a chunk. */
interface ImageRange {
  readonly images: readonly RowImage[];
  readonly from: number;
  readonly count: number;
}

interface ImageColumn {
  readonly encoder: ColumnEncoder;
  readonly type: LogicalType;
  readonly physical: string;
  readonly isKey: boolean;
}

/** Writes row images into chunks, and remembers what was special about them. */
class ImageWriter {
  readonly columns: readonly StageColumn[];
  hasExact = false;
  hasExactKeys = false;
  readonly #columns: readonly ImageColumn[];

  constructor(layout: VersionLayout) {
    this.#columns = layout.columns.map(({ type, physical, isKey }) => {
      return { encoder: columnEncoder(type), type, physical, isKey };
    });
    const cells = this.#columns.map(({ type, encoder }, index): StageColumn => {
      return { name: stagedName(index), type: stagedType(type), vector: encoder.vector };
    });
    this.columns = [...cells, { name: '_exact', type: 'json', vector: VARCHAR }];
  }

  /** Writes the images' columns and, behind them, the `_exact` text of each row. */
  write(chunk: readonly ColumnWriter[], range: ImageRange): void {
    const exacts = new Map<number, Record<string, string>>();
    for (let index = 0; index < this.#columns.length; index += 1) {
      this.#writeColumn(chunk, index, range, exacts);
    }
    for (const [row, texts] of exacts) chunk[this.#columns.length]?.put(row, JSON.stringify(texts));
  }

  #writeColumn(
    chunk: readonly ColumnWriter[],
    index: number,
    ...[{ images, from, count }, exacts]: [ImageRange, Map<number, Record<string, string>>]
  ): void {
    const [writer, column] = [chunk[index], this.#columns[index]];
    assert(writer && column, 'a chunk has the columns of the images');
    const { plain } = column.encoder;
    for (let row = 0; row < count; row += 1) {
      const value: Value = images[from + row]?.[index] ?? null;
      if (value === null) continue;
      const cell = plain(value);
      if (cell !== undefined) {
        writer.put(row, cell);
        continue;
      }
      const stored = encodeValue(column.type, value);
      if (stored.cell !== null) writer.put(row, stored.cell);
      const texts = exacts.get(row) ?? {};
      exacts.set(row, texts);
      texts[column.physical] = stored.exact ?? '';
      this.hasExact = true;
      if (column.isKey) this.hasExactKeys = true;
    }
  }
}

/** A column that is read from a staged row, by the row's number. */
interface OriginColumn extends StageColumn {
  readonly cell: (staging: Staging, change: Change, n: number) => Cell | null;
}

const originColumns: readonly OriginColumn[] = [
  { name: '_to', type: 'utinyint', vector: UTINYINT, cell: ({ to }, _, n) => to[n] ?? 0 },
  {
    name: '_op',
    type: 'utinyint',
    vector: UTINYINT,
    cell: (_, { op }) => stagedOps.indexOf(op) + 1,
  },
  { name: '_seq', type: 'varchar', vector: VARCHAR, cell: (_, { seq }) => seq },
  { name: '_lsn', type: 'ubigint', vector: UBIGINT, cell: (_, { lsn }) => lsn },
  { name: '_xid', type: 'bigint', vector: BIGINT, cell: (_, { xid }) => xid },
  {
    name: '_committed',
    type: 'timestamptz',
    vector: TIMESTAMPTZ,
    cell: (_, { committedAtUs }) => committedAtUs,
  },
  {
    name: '_captured',
    type: 'timestamptz',
    vector: TIMESTAMPTZ,
    cell: (_, { capturedAtUs }) => capturedAtUs,
  },
  { name: '_partition', type: 'integer', vector: INTEGER, cell: (_, { partition }) => partition },
  { name: '_offset', type: 'bigint', vector: BIGINT, cell: (_, { offset }) => BigInt(offset) },
];
const unchangedColumn: OriginColumn = {
  name: '_unchanged',
  type: 'integer',
  vector: INTEGER,
  cell: ({ unchanged }, _, n) => unchanged[n] ?? 0,
};
const numberColumn: StageColumn = { name: '_n', type: 'integer', vector: INTEGER };

async function writeRows(lake: LakeConnection, staging: Staging, writer: ImageWriter) {
  const { images, changes, sets, bases } = staging;
  const origin = [
    ...originColumns,
    ...(sets.length > 0 ? [unchangedColumn] : []),
    ...(bases.length > 0
      ? [{ ...numberColumn, cell: (_s: Staging, _c: Change, n: number) => n }]
      : []),
  ];
  await lake.fillTemporary(stageTable, {
    columns: [...writer.columns, ...origin],
    rowCount: images.length,
    fill: (chunk, from, count) => {
      writer.write(chunk, { images, from, count });
      for (const [index, { cell: cellOf }] of origin.entries()) {
        const column = chunk[writer.columns.length + index];
        for (let row = 0; row < count; row += 1) {
          const change = changes[from + row];
          const cell = change === undefined ? null : cellOf(staging, change, from + row);
          if (cell !== null) column?.put(row, cell);
        }
      }
    },
  });
}

async function writeBases(lake: LakeConnection, { bases }: Staging, writer: ImageWriter) {
  const images = bases.map(({ key }) => key);
  await writeImages(lake, writer, {
    table: baseTable,
    images,
    numberOf: (at) => bases[at]?.n ?? 0,
  });
}

async function writeRemoved(
  lake: LakeConnection,
  images: readonly RowImage[],
  writer: ImageWriter,
) {
  await writeImages(lake, writer, { table: removedTable, images, numberOf: (at) => at });
}

interface StagedImages {
  readonly table: string;
  readonly images: readonly RowImage[];
  readonly numberOf: (at: number) => number;
}

async function writeImages(lake: LakeConnection, writer: ImageWriter, staged: StagedImages) {
  const { table, images, numberOf } = staged;
  await lake.fillTemporary(table, {
    columns: [...writer.columns, numberColumn],
    rowCount: images.length,
    fill: (chunk, from, count) => {
      writer.write(chunk, { images, from, count });
      const numbers = chunk[writer.columns.length];
      for (let row = 0; row < count; row += 1) numbers?.put(row, numberOf(from + row));
    },
  });
}
