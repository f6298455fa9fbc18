import { PipelineError } from '../runtime/errors.ts';
import { tableName, type TableSchema } from './table-schema.ts';

const illegalInPart = /[^A-Za-z0-9_]/g;

/** Whatever Avro's grammar refuses becomes "_"; a leading digit gets one before it. */
function adjust(part: string): string {
  const legal = part.replace(illegalInPart, '_');
  return /^[0-9]/.test(legal) ? `_${legal}` : legal;
}

/**
 * The namespace of a table's records, e.g. "app.public.service_event" for prefix "app". Follows
 * Debezium's `schema.name.adjustment.mode=avro`; a part that begins with a digit gets "_" as well,
 * because Avro readers check every part.
 */
export function avroNamespace(prefix: string, schema: string, table: string): string {
  return `${prefix}.${schema}.${table}`.split('.').map(adjust).join('.');
}

/** The field name of a column: "1st col" → "_1st_col". Follows `field.name.adjustment.mode=avro`. */
export const avroFieldName = (column: string): string => adjust(column);

/** Field names of all columns in column order. Throws `source-unfit` when two columns share one. */
export function avroFieldNames(table: TableSchema): readonly string[] {
  const columns = new Map<string, string>();
  for (const { name } of table.columns) {
    const field = avroFieldName(name);
    const other = columns.get(field);
    if (other !== undefined) {
      throw new PipelineError(
        'source-unfit',
        `columns "${other}" and "${name}" of ${tableName(table)} both map to Avro field ${field}`,
        {
          hint: 'rename one of the columns, or leave it out with a column list in the publication',
        },
      );
    }
    columns.set(field, name);
  }
  return [...columns.keys()];
}
