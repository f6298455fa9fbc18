import { assert } from '../runtime/assert.ts';
import { avroFieldNames, avroNamespace } from './avro-names.ts';
import { avroDefault, type AvroDefault } from './column-default.ts';
import type { ColumnSchema, TableSchema } from './table-schema.ts';
import { avroTypeOf, type AvroSchema } from './type-mapping.ts';

/** Debezium's envelope marks its own version of the layout. */
const envelopeVersion = 2;

interface AvroField {
  readonly name: string;
  readonly type: AvroSchema;
  readonly default?: unknown;
}

const nullable = (type: AvroSchema): AvroSchema => ['null', type];

const optional = (name: string, type: AvroSchema): AvroField => ({
  name,
  type: nullable(type),
  default: null,
});

const snapshotType: AvroSchema = {
  type: 'string',
  'connect.version': 1,
  'connect.parameters': {
    allowed: 'true,first,first_in_data_collection,last_in_data_collection,last,false,incremental',
  },
  'connect.default': 'false',
  'connect.name': 'io.debezium.data.Enum',
};

const sourceType: AvroSchema = {
  type: 'record',
  name: 'Source',
  namespace: 'io.debezium.connector.postgresql',
  fields: [
    { name: 'version', type: 'string' },
    { name: 'connector', type: 'string' },
    { name: 'name', type: 'string' },
    { name: 'ts_ms', type: 'long' },
    { name: 'snapshot', type: [snapshotType, 'null'], default: 'false' },
    { name: 'db', type: 'string' },
    optional('sequence', 'string'),
    optional('ts_us', 'long'),
    optional('ts_ns', 'long'),
    { name: 'schema', type: 'string' },
    { name: 'table', type: 'string' },
    optional('txId', 'long'),
    optional('lsn', 'long'),
    optional('xmin', 'long'),
    optional('origin', 'string'),
    optional('origin_lsn', 'long'),
  ],
  'connect.version': 1,
  'connect.name': 'io.debezium.connector.postgresql.Source',
};

const transactionType: AvroSchema = {
  type: 'record',
  name: 'block',
  namespace: 'event',
  fields: [
    { name: 'id', type: 'string' },
    { name: 'total_order', type: 'long' },
    { name: 'data_collection_order', type: 'long' },
  ],
  'connect.version': 1,
  'connect.name': 'event.block',
};

/**
 * The schema of a table's record keys: its key columns in key order; null for a table without a key.
 * Equal to the one that Debezium registers. Throws `source-unfit` when two columns share a field name.
 */
export function keySchema(table: TableSchema, prefix: string): AvroSchema | null {
  if (table.key.length === 0) return null;
  const namespace = avroNamespace(prefix, table.schema, table.name);
  const names = avroFieldNames(table);
  const fields = table.key.map((key) => {
    const index = table.columns.findIndex((column) => column.name === key);
    const column = table.columns[index];
    assert(column !== undefined, `key column ${key} is a column of the table`);
    return columnField({ ...column, nullable: false }, names[index] ?? '');
  });
  return withReferences({
    type: 'record',
    name: 'Key',
    namespace,
    fields,
    'connect.name': `${namespace}.Key`,
  });
}

/**
 * The schema of a table's record values: Debezium's envelope around the row. Equal to the one that
 * Debezium registers for the types it shares with us; other types are strings here. Throws
 * `source-unfit` when two columns share a field name.
 */
export function valueSchema(table: TableSchema, prefix: string): AvroSchema {
  const namespace = avroNamespace(prefix, table.schema, table.name);
  const names = avroFieldNames(table);
  const row = {
    type: 'record',
    name: 'Value',
    fields: table.columns.map((column, index) => columnField(column, names[index] ?? '')),
    'connect.name': `${namespace}.Value`,
  };
  return withReferences({
    type: 'record',
    name: 'Envelope',
    namespace,
    fields: [
      optional('before', row),
      optional('after', 'Value'),
      { name: 'source', type: sourceType },
      optional('transaction', transactionType),
      { name: 'op', type: 'string' },
      optional('ts_ms', 'long'),
      optional('ts_us', 'long'),
      optional('ts_ns', 'long'),
    ],
    'connect.version': envelopeVersion,
    'connect.name': `${namespace}.Envelope`,
  });
}

/** The one text of a schema that is registered: the same schema gives the same text. */
export const schemaText = (schema: AvroSchema): string => JSON.stringify(schema);

/** A union begins with the branch of its default: null, or the type when the column has a default. */
function columnField(column: ColumnSchema, name: string): AvroField {
  const type = avroTypeOf(column.type);
  const value = avroDefault(column);
  if (value === undefined) return column.nullable ? optional(name, type) : { name, type };
  const annotated = withDefault(type, value);
  return { name, type: column.nullable ? [annotated, 'null'] : annotated, default: value };
}

/** `connect.default` stands before the name, as Debezium's converter writes it. */
function withDefault(type: AvroSchema, value: AvroDefault): AvroSchema {
  if (typeof type === 'string') return { type, 'connect.default': value };
  const annotated: Record<string, unknown> = {};
  for (const [attribute, content] of Object.entries(type)) {
    if (attribute === 'connect.name') annotated['connect.default'] = value;
    annotated[attribute] = content;
  }
  return { ...annotated, 'connect.default': value };
}

/** A named type is defined where it first stands and named from then on. */
function withReferences(schema: AvroSchema): AvroSchema {
  const defined = new Set<string>();
  const visit = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(visit);
    if (typeof node !== 'object' || node === null) return node;
    const entries = Object.entries(node);
    const name: unknown = Reflect.get(node, 'connect.name');
    if (Reflect.get(node, 'type') === 'record' && typeof name === 'string') {
      if (defined.has(name)) return name;
      defined.add(name);
    }
    return Object.fromEntries(entries.map(([attribute, content]) => [attribute, visit(content)]));
  };
  return visit(schema) as AvroSchema;
}
