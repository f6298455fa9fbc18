import { PipelineError } from '../../runtime/errors.ts';
import type { RowImage } from '../../schemas/change.ts';
import { type ColumnSchema, tableName, type TableSchema } from '../../schemas/table-schema.ts';
import { bigqueryTypeOf } from '../../schemas/type-mapping.ts';
import { type LiveColumn, tableKey, type TableLayout } from '../lake/layout.ts';
import type { Checkpoint } from '../sink.ts';
import { parseExact } from './apply-table.ts';
import { LakeConnection, type LakeOptions, type TextRow } from './client.ts';
import { decodeValue } from './decode.ts';
import { datasetNames } from './layout.ts';
import { readLakeCheckpoint, readLayouts } from './shared-tables.ts';
import { changesOf, quoteName, stateOf } from './sql.ts';

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
  /** As `readRows`, of all changes. */
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
      const from = stateOf(names(table));
      yield* readImages(lake, { table, columns, own, from, where: 'not _cdc_deleted' });
    },
    async *readChanges(table, columns, own) {
      yield* readImages(lake, {
        table,
        columns,
        own,
        from: changesOf(names(table)),
        where: 'true',
      });
    },
  };
}

interface ReadTarget {
  readonly table: Table;
  readonly columns: readonly ColumnSchema[];
  readonly from: string;
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
  const places = columns.map((column) => placeOf(layout, column));
  const list = columns.map(({ type }, index) => {
    const cell = quoteName(places[index]?.physical ?? '');
    const lakeType = bigqueryTypeOf(type);
    if (lakeType === 'TIMESTAMP') return `unix_micros(${cell})`;
    if (lakeType === 'JSON') return `to_json_string(${cell})`;
    return lakeType === 'STRING' || lakeType === 'BYTES' ? cell : `cast(${cell} as string)`;
  });
  const selected = ['_cdc_exact', ...own.map(ownSql), ...list];
  const isNull = places.map(({ physical }) => `${quoteName(physical)} is null`);
  const nulls =
    isNull.length === 0 ? "''" : `concat(${isNull.map((is) => `if(${is}, '1', '0')`).join(', ')})`;
  const sql = `select ${nulls}, ${selected.join(', ')} from ${target.from} where ${target.where}`;
  for await (const page of lake.pages(sql)) {
    for (const [flags = '', stored = null, ...cells] of page) {
      const exact = parseExact(stored);
      const image = columns.map(({ type }, index) => {
        const cell = flags?.[index] === '1' ? null : (cells[own.length + index] ?? null);
        return decodeValue(type, cell, exact[places[index]?.physical ?? '']);
      });
      yield [cells.slice(0, own.length), image];
    }
  }
}

function ownSql(name: string): string {
  if (name.endsWith('_at')) return `unix_micros(${quoteName(name)})`;
  return name === '_cdc_unchanged' ? `to_json_string(${quoteName(name)})` : quoteName(name);
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
