import { PipelineError } from '../../runtime/errors.ts';
import type { RowImage } from '../../schemas/change.ts';
import { type ColumnSchema, tableName, type TableSchema } from '../../schemas/table-schema.ts';
import { tableKey, type TableLayout } from '../lake/layout.ts';
import type { Checkpoint } from '../sink.ts';
import { LakeConnection, type LakeOptions, type TextRow } from './client.ts';
import { datasetNames } from './layout.ts';
import {
  isPublishedSql,
  readCheckpoint,
  readLakeCheckpoint,
  readLayouts,
  sharePartOf,
} from './shared-tables.ts';
import { changesOf, quoteName, stateOf } from './sql.ts';
import { placedNames } from './state-place.ts';
import { imageList, readImage, type StoredColumn } from './stored-image.ts';

type ReadRow = readonly [own: TextRow, image: RowImage];
type Table = Pick<TableSchema, 'schema' | 'name'>;

/** A look into a lake: as DuckDB's, with own columns as text (times in microseconds since 1970, lists in JSON). */
export interface LakeReader {
  /** All rows of a small result. */
  rows(sql: string): Promise<readonly TextRow[]>;
  /** As far as every share is; null in a lake that no sink has opened yet. */
  checkpoint(): Promise<Checkpoint | null>;
  /** The live rows of a table in any order, exactly as the sink was given them, after the `own` columns. */
  readRows(
    table: Table,
    columns: readonly ColumnSchema[],
    own: readonly string[],
  ): AsyncIterable<ReadRow>;
  /** As `readRows`, of all changes up to the checkpoint: in mode `stream` later ones may be there already. */
  readChanges(
    table: Table,
    columns: readonly ColumnSchema[],
    own: readonly string[],
  ): AsyncIterable<ReadRow>;
}

export function openLakeReader(options: LakeOptions): LakeReader {
  const lake = new LakeConnection(options);
  const names = (table: Table) => datasetNames(options.dataset, table);
  return {
    rows: (sql) => lake.rows(sql),
    checkpoint: () => readLakeCheckpoint(lake),
    async *readRows(table, columns, own) {
      const part = await sharePartOf(lake, table);
      const states = (await readCheckpoint(lake, part))?.states ?? {};
      const from = (layout: TableLayout) =>
        stateOf(placedNames(names(layout), states[layout.topic]));
      yield* readImages(lake, { table, columns, own, from, where: 'not _cdc_deleted' });
    },
    async *readChanges(table, columns, own) {
      yield* readImages(lake, {
        table,
        columns,
        own,
        from: () => changesOf(names(table)),
        where: isPublishedSql(await sharePartOf(lake, table)),
      });
    },
  };
}

interface ReadTarget {
  readonly table: Table;
  readonly columns: readonly ColumnSchema[];
  readonly from: (layout: TableLayout) => string;
  readonly own: readonly string[];
  readonly where: string;
}

async function* readImages(
  lake: LakeConnection,
  target: ReadTarget,
): AsyncGenerator<ReadRow, void, undefined> {
  const layouts = await readLayouts(lake, lake);
  const layout = layouts.findLast((one) => tableKey(one) === tableKey(target.table));
  if (layout === undefined) return;
  const { columns, own } = target;
  const stored = columns.map((column) => storedColumn(layout, column));
  const list = [...own.map(ownSql), ...imageList(stored)].join(', ');
  const sql = `select ${list} from ${target.from(layout)} where ${target.where}`;
  for await (const page of lake.pages(sql)) {
    for (const row of page) {
      yield [row.slice(0, own.length), readImage(stored, row.slice(own.length))];
    }
  }
}

function ownSql(name: string): string {
  if (name.endsWith('_at')) return `unix_micros(${quoteName(name)})`;
  return name === '_cdc_unchanged' ? `to_json_string(${quoteName(name)})` : quoteName(name);
}

function storedColumn(layout: TableLayout, { name, type }: ColumnSchema): StoredColumn {
  const live = layout.live.find((one) => one.name === name);
  const column = layout.columns.find(({ physical }) => physical === live?.physical);
  if (column !== undefined) return { physical: column.physical, type, lakeType: column.type };
  throw new PipelineError(
    'sink-failed',
    `the lake's ${tableName(layout)} has no column "${name}" yet`,
    { hint: 'let the sink catch up, then try again' },
  );
}
