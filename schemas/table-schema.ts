import type { PositionText } from './position.ts';

/**
 * What a column's values are, whatever the engine. `schemas/type-mapping.ts` is the one table that
 * says how each kind looks in PostgreSQL, Avro, DuckDB and BigQuery.
 */
export type LogicalType =
  | { readonly kind: 'bool' }
  | { readonly kind: 'int2' }
  | { readonly kind: 'int4' }
  | { readonly kind: 'int8' }
  | { readonly kind: 'oid' }
  | { readonly kind: 'float4' }
  | { readonly kind: 'float8' }
  /** numeric(p,s); scale may be negative or above precision (PostgreSQL 15+). */
  | { readonly kind: 'numeric'; readonly precision: number; readonly scale: number }
  /** numeric without a declared precision: every value brings its own scale. */
  | { readonly kind: 'numeric-free' }
  | { readonly kind: 'text' }
  | { readonly kind: 'uuid' }
  | { readonly kind: 'date' }
  /** `precision` = digits after the second, 0 to 6. */
  | { readonly kind: 'time'; readonly precision: number }
  | { readonly kind: 'timestamp'; readonly precision: number }
  | { readonly kind: 'timestamptz'; readonly precision: number }
  | { readonly kind: 'json' }
  | { readonly kind: 'jsonb' }
  | { readonly kind: 'bytea' }
  | { readonly kind: 'enum'; readonly labels: readonly string[] }
  | { readonly kind: 'inet' }
  /** Text that Debezium gives a name of its own, e.g. "io.debezium.data.Xml". */
  | { readonly kind: 'named-text'; readonly connectName: string }
  /** Debezium's form in the record, which may lose something, and PostgreSQL's exact text in a header beside it. */
  | { readonly kind: 'restated'; readonly form: RestatedForm; readonly length: number }
  | { readonly kind: 'array'; readonly element: LogicalType }
  /** Every other type: its exact PostgreSQL text. */
  | { readonly kind: 'other' };

/** `bits`: bit(n) and varbit(n) of more than one bit; `length` is the type's n, 0 for the other forms. */
export type RestatedForm = 'bit' | 'bits' | 'hstore' | 'interval' | 'money' | 'point' | 'timetz';

export interface ColumnSchema {
  /** As PostgreSQL spells it. */
  readonly name: string;
  readonly type: LogicalType;
  /** As `format_type` prints it, e.g. "numeric(12,2)", "timestamp with time zone". */
  readonly pgType: string;
  readonly nullable: boolean;
  /** `pg_get_expr` of the column's default, when it has one. */
  readonly defaultExpression?: string;
  /** PostgreSQL's number of the column, which a rename keeps; left out when the catalog did not tell. */
  readonly attnum?: number;
  /** The constant that rows older than the column read (`pg_attribute.attmissingval`), as text. */
  readonly missingValue?: string;
}

export type ReplicaIdentity = 'default' | 'full' | 'index' | 'nothing';

/** One version of one table, from its Relation message and the catalog. */
export interface TableSchema {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly ColumnSchema[];
  /** Column names in the order of the primary key or replica identity index; empty = no key. */
  readonly key: readonly string[];
  readonly replicaIdentity: ReplicaIdentity;
}

/**
 * What `<prefix>.tributary.schemas` holds: a table version and where it begins. Written, durable, before
 * the first record that uses it, so a sink that meets a new schema id always finds it.
 */
export interface TableVersion {
  readonly topic: string;
  /** Registry ids of the value schema and (null without a key) the key schema. */
  readonly valueSchemaId: number;
  readonly keySchemaId: number | null;
  /** SHA-256 of the schema texts that the ids stand for; versions before 0.2 lack it. */
  readonly schemaDigest?: string;
  /** The version holds for records of this id from this position on. */
  readonly from: PositionText;
  readonly table: TableSchema;
}

/** "public.service_event": how tables are named in messages, mapping files and metrics. */
export function tableName(table: { readonly schema: string; readonly name: string }): string {
  return `${table.schema}.${table.name}`;
}
