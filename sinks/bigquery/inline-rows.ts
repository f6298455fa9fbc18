import type { TableField } from './sql.ts';

/*
 * A small part of a batch travels with the statements that apply it, as one JSON text a table: no staging
 * table, no load job, and none of the seconds that those take.
 */

/** Bytes of one table's rows. */
export const inlineTableBytesMax = 256 << 10;
/** Bytes of all rows of a publication: a request has at most 10 MB. https://cloud.google.com/bigquery/quotas#query_jobs */
export const inlineBytesMax = 4 << 20;
/** The columns are written out up to three times in a script. */
const inlineColumnsMax = 300;

export interface TextParameter {
  readonly name: string;
  readonly value: string;
}

type Cell = null | boolean | number | string | readonly string[];

/** Rows of a staging table as a JSON text; null where they are too many for it. */
export function inlineRows(
  rows: readonly Readonly<Record<string, Cell>>[],
  { columnCount, bytesMax }: { readonly columnCount: number; readonly bytesMax: number },
): string | null {
  if (columnCount > inlineColumnsMax || bytesMax <= 0) return null;
  let bytes = 2;
  const texts: string[] = [];
  for (const row of rows) {
    // Every cell is text: a number would go through a parser that may round it.
    const text = JSON.stringify(row, (_, cell: unknown) =>
      typeof cell === 'number' || typeof cell === 'boolean' ? String(cell) : cell,
    );
    bytes += Buffer.byteLength(text) + 1;
    if (bytes > bytesMax) return null;
    texts.push(text);
  }
  return `[${texts.join(',')}]`;
}

/** The rows of such a text as a staging table would have them. */
export function inlineRelation(parameter: string, fields: readonly TableField[]): string {
  const cells = fields.map(({ name, type, mode }) => {
    if (mode === 'REPEATED') return `json_value_array(j, '$.${name}') as ${name}`;
    const text = `json_value(j, '$.${name}')`;
    return `${type === 'STRING' ? text : `cast(${text} as ${type})`} as ${name}`;
  });
  return `(select ${cells.join(', ')} from unnest(json_query_array(@${parameter})) as j)`;
}
