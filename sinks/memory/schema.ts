import { ExactText, type Value } from '../../schemas/change.ts';
import { type LogicalType, type TableVersion, tableName } from '../../schemas/table-schema.ts';
import { valueIdentity } from '../../schemas/value-identity.ts';
import type { MemoryContent, MemoryTable, NamedValues, StateRow } from './client.ts';

/** Makes the content able to hold rows of this version; a column's missing value fills the rows it has. */
export function evolveContent(content: MemoryContent, version: TableVersion): void {
  const name = tableName(version.table);
  const table = content.tables.get(name);
  if (table === undefined) {
    content.tables.set(name, { version, changes: [], state: new Map(), bag: [] });
    return;
  }
  const missing = missingValues(table, version);
  const filled = (row: StateRow): StateRow =>
    row.deleted ? row : { ...row, values: { ...missing, ...row.values } };
  table.version = version;
  table.bag = table.bag.map(filled);
  table.state = new Map(
    [...table.state.values()].map((row) => [stateIdentity(version, row.values), filled(row)]),
  );
}

/** Identity of a row among the rows of its table: its key columns. */
export function stateIdentity(version: TableVersion, values: NamedValues): string {
  return valueIdentity(version.table.key.map((name) => values[name] ?? null));
}

function missingValues(table: MemoryTable, version: TableVersion): NamedValues {
  const known = new Set(table.version.table.columns.map((column) => column.name));
  const added = version.table.columns.filter((column) => !known.has(column.name));
  return Object.fromEntries(
    added.map((column) => [
      column.name,
      column.missingValue === undefined ? null : fromText(column.type, column.missingValue),
    ]),
  );
}

/** PostgreSQL's text of a constant → Value, for the plain kinds that defaults have. */
function fromText(type: LogicalType, text: string): Value {
  switch (type.kind) {
    case 'bool':
      return text === 't' || text === 'true';
    case 'int2':
    case 'int4':
    case 'float4':
    case 'float8':
      return Number(text);
    case 'int8':
    case 'oid':
      return BigInt(text);
    case 'text':
    case 'uuid':
    case 'json':
    case 'jsonb':
    case 'enum':
    case 'inet':
    case 'named-text':
    case 'restated':
    case 'other':
    case 'numeric-free':
      return text;
    default:
      return new ExactText(text);
  }
}
