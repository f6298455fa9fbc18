import type { DuckDBDataChunk, DuckDBValue } from '@duckdb/node-api';
import { PipelineError } from '../../runtime/errors.ts';
import type { RowImage } from '../../schemas/change.ts';
import { type ColumnSchema, tableName, type TableSchema } from '../../schemas/table-schema.ts';
import { duckdbTypeOf } from '../../schemas/type-mapping.ts';
import { type Checkpoint, lakeNames } from '../sink.ts';
import { parseExact } from './apply-table.ts';
import { type LakeConnection, openLake } from './client.ts';
import { decodeValue } from './decode.ts';
import { type LiveColumn, tableKey, type TableLayout } from '../lake/layout.ts';
import { readCheckpoint, readLayouts } from './shared-tables.ts';
import { changesOf, quoteName, stateOf } from './sql.ts';

type ReadRow = readonly [own: readonly DuckDBValue[], image: RowImage];

/** A look into a lake, for `verify`, `status` and the demo. */
export interface LakeReader extends AsyncDisposable {
  /** All rows of a small result by column name; values are DuckDB's. Time zone is UTC. */
  rows(sql: string): Promise<readonly Record<string, DuckDBValue>[]>;
  /** Null in a lake that no sink has opened yet. */
  checkpoint(): Promise<Checkpoint | null>;
  /**
   * The live rows of a table in any order: one value for each of `columns`, exactly as the sink was
   * given it. No row for a table that the lake has not heard of; a column that it has not heard of
   * throws `sink-failed`.
   */
  readState(
    table: Pick<TableSchema, 'schema' | 'name'>,
    columns: readonly ColumnSchema[],
  ): AsyncIterable<RowImage>;
  /** As `readState`, with the `_cdc_` columns named in `own` in front of the values. */
  readRows(
    table: Pick<TableSchema, 'schema' | 'name'>,
    columns: readonly ColumnSchema[],
    own: readonly string[],
  ): AsyncIterable<ReadRow>;
  /** As `readRows`, of all changes. */
  readChanges(
    table: Pick<TableSchema, 'schema' | 'name'>,
    columns: readonly ColumnSchema[],
    own: readonly string[],
  ): AsyncIterable<ReadRow>;
  close(): Promise<void>;
}

/**
 * Opens a lake for reading. Beside a sink of this process it shares the sink's instance and sees what
 * is published; a file that another process holds throws `sink-locked`: borrow it first.
 */
export async function openLakeReader(path: string): Promise<LakeReader> {
  const lake = await openLake(path, { isReadOnly: true });
  const images = (target: ReadTarget) => readImages(lake, target);
  const close = () => lake.close();
  return {
    rows: (sql) => lake.rows(sql),
    checkpoint: async () => (await readCheckpoint(lake))?.checkpoint ?? null,
    async *readState(table, columns) {
      for await (const [, image] of images(liveRows(table, columns, []))) yield image;
    },
    async *readRows(table, columns, own) {
      yield* images(liveRows(table, columns, own));
    },
    async *readChanges(table, columns, own) {
      yield* images({ table, columns, from: changesOf(lakeNames(table)), own, where: 'true' });
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

interface ReadTarget {
  readonly table: Pick<TableSchema, 'schema' | 'name'>;
  readonly columns: readonly ColumnSchema[];
  readonly from: string;
  readonly own: readonly string[];
  readonly where: string;
}

function liveRows(
  table: ReadTarget['table'],
  columns: readonly ColumnSchema[],
  own: readonly string[],
): ReadTarget {
  return { table, columns, from: stateOf(lakeNames(table)), own, where: 'not _cdc_deleted' };
}

async function* readImages(
  lake: LakeConnection,
  target: ReadTarget,
): AsyncGenerator<ReadRow, void, undefined> {
  const layout = await newestLayout(lake, target.table);
  if (layout === undefined) return;
  const places = target.columns.map((column) => placeOf(layout, column));
  const list = places.map(({ physical }, index) => {
    const { type } = target.columns[index] ?? { type: { kind: 'other' as const } };
    return `${quoteName(physical)}::${duckdbTypeOf(type)}`;
  });
  const selected = ['_cdc_exact::varchar', ...target.own.map(quoteName), ...list];
  const sql = `select ${selected.join(', ')} from ${target.from} where ${target.where}`;
  for await (const chunk of lake.chunks(sql)) yield* decodeChunk(chunk, target, places);
}

function* decodeChunk(
  chunk: DuckDBDataChunk,
  { columns, own }: ReadTarget,
  places: readonly LiveColumn[],
): Generator<ReadRow> {
  const cells = chunk.getColumns();
  const [exacts = []] = cells;
  for (let row = 0; row < chunk.rowCount; row += 1) {
    const exact = parseExact(exacts[row]);
    const image = columns.map(({ type }, index) => {
      const cell = cells[1 + own.length + index]?.[row] ?? null;
      return decodeValue(type, cell, exact[places[index]?.physical ?? '']);
    });
    yield [own.map((_, index) => cells[1 + index]?.[row] ?? null), image];
  }
}

async function newestLayout(
  lake: LakeConnection,
  table: Pick<TableSchema, 'schema' | 'name'>,
): Promise<TableLayout | undefined> {
  const layouts = await readLayouts(lake);
  return layouts.findLast((layout) => tableKey(layout) === tableKey(table));
}

function placeOf(layout: TableLayout, column: ColumnSchema): LiveColumn {
  const live = layout.live.find(({ name }) => name === column.name);
  if (live !== undefined) return live;
  throw new PipelineError(
    'sink-failed',
    `the lake's ${tableName(layout)} has no column "${column.name}" yet`,
    { hint: 'let the sink catch up, then try again' },
  );
}
