import type { RowImage } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { parseExact } from './apply-table.ts';
import type { TextRow } from './client.ts';
import { decodeValue } from './decode.ts';
import { quoteName } from './sql.ts';

/** A column to read from `T__state` or `T__changes`, and what it holds. */
export interface StoredColumn {
  readonly physical: string;
  readonly type: LogicalType;
  /** The column's own type. */
  readonly lakeType: string;
}

/** What to select for `readImage`: which cells are NULL, the exact texts, the cells. */
export function imageList(columns: readonly StoredColumn[]): readonly string[] {
  const isNull = columns.map(({ physical }) => `if(${quoteName(physical)} is null, '1', '0')`);
  const cells = columns.map(({ physical, lakeType }) => {
    const cell = quoteName(physical);
    if (lakeType === 'TIMESTAMP') return `unix_micros(${cell})`;
    if (lakeType === 'JSON') return `to_json_string(${cell})`;
    return lakeType === 'STRING' || lakeType === 'BYTES' ? cell : `cast(${cell} as string)`;
  });
  const nulls = isNull.length === 0 ? "''" : `concat(${isNull.join(', ')})`;
  return [nulls, '_cdc_exact', ...cells];
}

/** The values behind what `imageList` selected, exactly as the sink was given them. */
export function readImage(columns: readonly StoredColumn[], row: TextRow): RowImage {
  const [flags = '', stored = null, ...cells] = row;
  const exact = parseExact(stored);
  return columns.map(({ type, physical, lakeType }, index) => {
    const cell = flags?.[index] === '1' ? null : (cells[index] ?? null);
    return decodeValue(type, { lakeType, cell, exact: exact[physical] });
  });
}
