import type { CatalogColumn, CatalogTable } from '../schemas/catalog.ts';
import type { MappedTable } from './mapping.ts';

/** The first of these names that the table has. */
export function pickColumn(
  table: CatalogTable,
  names: readonly string[],
): CatalogColumn | undefined {
  for (const name of names) {
    const column = table.columns.find((candidate) => candidate.name.toLowerCase() === name);
    if (column !== undefined) return column;
  }
  return undefined;
}

/**
 * The first of these columns that can be read as a moment. Whole numbers are epochs: of seconds, unless
 * the name says otherwise (`_ms`, `_us`).
 */
export function momentOf(table: CatalogTable, names: readonly string[]): MappedTable['createdAt'] {
  for (const name of names) {
    const column = pickColumn(table, [name, `${name}_ms`, `${name}_us`]);
    const as = column === undefined ? null : momentKind(column);
    if (column !== undefined && as !== null) return { column: column.name, as };
  }
  return null;
}

function momentKind(column: CatalogColumn): NonNullable<MappedTable['createdAt']>['as'] | null {
  if (column.pgType.startsWith('timestamp')) {
    return column.pgType.includes('with time zone') ? 'timestamptz' : 'timestamp';
  }
  if (column.pgType === 'date') return 'date';
  if (column.pgType !== 'bigint' && column.pgType !== 'integer') return null;
  if (column.name.endsWith('_us')) return 'epoch_micros';
  return column.name.endsWith('_ms') ? 'epoch_millis' : 'epoch_seconds';
}
