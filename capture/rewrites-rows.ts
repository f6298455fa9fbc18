import type { ColumnSchema, LogicalType, TableSchema } from '../schemas/table-schema.ts';

/**
 * Whether going from one version to the next changed what rows hold without row events: a column of
 * another type (`alter column … type … using`), a new one whose default was computed row by row, one
 * that was renamed (its values are in the lake under the old name), or one that was dropped and made
 * again under its name. A constant default is in the catalog (`missingValue`) and needs no reading.
 * Pure widening keeps values.
 */
export function rewritesRows(before: TableSchema, after: TableSchema): boolean {
  const known = new Map(before.columns.map((column) => [column.name, column]));
  const names = new Set(after.columns.map((column) => column.name));
  const vanished = before.columns.filter((column) => !names.has(column.name));
  return after.columns.some((column) => {
    const former = known.get(column.name);
    if (former === undefined) {
      return isComputed(column) || before.columns.some((old) => isRenamed(old, column, vanished));
    }
    return isOther(former, column) || !keepsValues(former.type, column.type);
  });
}

/** Of two columns with different names. Without their numbers, one that vanished may be it. */
function isRenamed(
  old: ColumnSchema,
  column: ColumnSchema,
  vanished: readonly ColumnSchema[],
): boolean {
  if (old.attnum !== undefined && column.attnum !== undefined) return old.attnum === column.attnum;
  return vanished.includes(old);
}

/** Of two columns with the same name. */
function isOther(former: ColumnSchema, column: ColumnSchema): boolean {
  const [before, after] = [former.attnum, column.attnum];
  return before !== undefined && after !== undefined && before !== after;
}

function isComputed(column: ColumnSchema): boolean {
  return column.defaultExpression !== undefined && column.missingValue === undefined;
}

const integerWidths: Partial<Record<LogicalType['kind'], number>> = { int2: 2, int4: 4, int8: 8 };

function keepsValues(before: LogicalType, after: LogicalType): boolean {
  const [from, to] = [integerWidths[before.kind], integerWidths[after.kind]];
  if (from !== undefined && to !== undefined) return from <= to;
  if (before.kind === 'array' && after.kind === 'array') {
    return keepsValues(before.element, after.element);
  }
  if (before.kind === 'numeric' && after.kind === 'numeric') {
    return before.scale === after.scale && before.precision <= after.precision;
  }
  // New labels of an enum change no row.
  if (before.kind === 'enum' || after.kind === 'enum') return before.kind === after.kind;
  return JSON.stringify(before) === JSON.stringify(after);
}
