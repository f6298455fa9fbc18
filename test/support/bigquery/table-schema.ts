import { ServiceError } from './service-error.ts';

export const fieldTypes = [
  'STRING',
  'BYTES',
  'INT64',
  'FLOAT64',
  'NUMERIC',
  'BIGNUMERIC',
  'BOOL',
  'TIMESTAMP',
  'DATE',
  'TIME',
  'DATETIME',
  'JSON',
  'STRUCT',
] as const;

export type FieldType = (typeof fieldTypes)[number];

const typeAliases: Readonly<Record<string, FieldType>> = {
  INTEGER: 'INT64',
  FLOAT: 'FLOAT64',
  BOOLEAN: 'BOOL',
  RECORD: 'STRUCT',
  DECIMAL: 'NUMERIC',
  BIGDECIMAL: 'BIGNUMERIC',
};

/** Names that REST answers with; requests may use either. */
const restNames: Partial<Record<FieldType, string>> = {
  INT64: 'INTEGER',
  FLOAT64: 'FLOAT',
  BOOL: 'BOOLEAN',
  STRUCT: 'RECORD',
};

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly mode: 'NULLABLE' | 'REQUIRED' | 'REPEATED';
  readonly fields: readonly Field[];
  /** STRING(n) and BYTES(n). */
  readonly maxLength?: number;
  readonly description?: string;
}

/** A field of a table's schema as REST has it. */
export interface FieldResource {
  readonly name: string;
  readonly type: string;
  readonly mode?: string;
  readonly fields?: readonly FieldResource[];
  readonly maxLength?: string | number;
  readonly description?: string;
}

/** Columns of a table, at most. https://cloud.google.com/bigquery/quotas#standard_tables */
export const columnsMax = 10_000;
/** Characters of a column's name, at most. https://cloud.google.com/bigquery/docs/schemas#column_names */
const columnNameCharsMax = 300;
const reservedPrefixes = [
  '_TABLE_',
  '_FILE_',
  '_PARTITION',
  '_ROW_TIMESTAMP',
  '__ROOT__',
  '_COLIDENTIFIER',
  '_CHANGE_SEQUENCE_NUMBER',
  '_CHANGE_TYPE',
  '_CHANGE_TIMESTAMP',
];
const forbiddenSigns = /[!"$()*,./;?@[\\\]^`{}~]/;

/** Type by its SQL or REST name. Throws `invalid` for others. */
function fieldType(name: string): FieldType {
  const upper = name.toUpperCase();
  const type = typeAliases[upper] ?? fieldTypes.find((known) => known === upper);
  if (type === undefined) throw new ServiceError('invalid', `Invalid value for type: ${name}`);
  return type;
}

/** Columns from a REST schema. Throws `invalid` for names, types and modes that BigQuery refuses. */
export function readFields(resources: readonly FieldResource[]): Field[] {
  const seen = new Set<string>();
  return resources.map((resource) => {
    const field = readField(resource);
    const key = field.name.toLowerCase();
    if (seen.has(key)) {
      throw new ServiceError('invalid', `Duplicate field name: ${field.name}`);
    }
    seen.add(key);
    return field;
  });
}

function readField(resource: FieldResource): Field {
  const { name, maxLength, description } = resource;
  checkColumnName(name);
  const type = fieldType(resource.type);
  const mode = (resource.mode ?? 'NULLABLE').toUpperCase();
  if (mode !== 'NULLABLE' && mode !== 'REQUIRED' && mode !== 'REPEATED') {
    throw new ServiceError('invalid', `Invalid value for mode: ${mode}`);
  }
  const fields = readFields(resource.fields ?? []);
  if ((type === 'STRUCT') !== fields.length > 0) {
    throw new ServiceError('invalid', `Field ${name} is type ${type} but has wrong schema fields`);
  }
  return {
    name,
    type,
    mode,
    fields,
    ...(maxLength === undefined ? {} : { maxLength: Number(maxLength) }),
    ...(description === undefined ? {} : { description }),
  };
}

/** Throws `invalid` unless BigQuery takes the name for a column. */
function checkColumnName(name: string): void {
  const upper = name.toUpperCase();
  const prefix = reservedPrefixes.find((reserved) => upper.startsWith(reserved));
  if (name.length === 0 || name.length > columnNameCharsMax || forbiddenSigns.test(name)) {
    throw new ServiceError(
      'invalid',
      `Invalid field name "${name}". Fields must contain only letters, numbers, and underscores, start with a letter or underscore, and be at most 300 characters long.`,
    );
  }
  if (prefix !== undefined) {
    throw new ServiceError(
      'invalid',
      `Invalid field name "${name}". Field names are not allowed to start with the (case-insensitive) prefixes ${reservedPrefixes.join(', ')}`,
    );
  }
}

/** The columns as REST answers them. */
export function fieldResources(fields: readonly Field[]): FieldResource[] {
  return fields.map(({ name, type, mode, fields: inner, maxLength, description }) => ({
    name,
    type: restNames[type] ?? type,
    mode,
    ...(inner.length === 0 ? {} : { fields: fieldResources(inner) }),
    ...(maxLength === undefined ? {} : { maxLength: String(maxLength) }),
    ...(description === undefined ? {} : { description }),
  }));
}

/**
 * 77 digits, more than DuckDB's DECIMAL holds: an integer of 10^-38. The record around it keeps it apart
 * from plain integers: it compares and sorts as the number does, and whatever would take it for another
 * number is refused.
 */
const bignumericType = 'STRUCT(bignumeric BIGNUM)';

const duckdbTypes: Record<Exclude<FieldType, 'STRUCT'>, string> = {
  STRING: 'VARCHAR',
  BYTES: 'BLOB',
  INT64: 'BIGINT',
  FLOAT64: 'DOUBLE',
  NUMERIC: 'DECIMAL(38,9)',
  BIGNUMERIC: bignumericType,
  BOOL: 'BOOLEAN',
  TIMESTAMP: 'TIMESTAMPTZ',
  DATE: 'DATE',
  TIME: 'TIME',
  DATETIME: 'TIMESTAMP',
  JSON: 'JSON',
};

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** The type of DuckDB in which a column is kept. */
export function duckdbType(field: Pick<Field, 'type' | 'mode' | 'fields'>): string {
  const scalar =
    field.type === 'STRUCT'
      ? `STRUCT(${field.fields.map((inner) => `${quoteName(inner.name)} ${duckdbType(inner)}`).join(', ')})`
      : duckdbTypes[field.type];
  return field.mode === 'REPEATED' ? `${scalar}[]` : scalar;
}

const widenings: Partial<Record<FieldType, readonly FieldType[]>> = {
  INT64: ['NUMERIC', 'BIGNUMERIC', 'FLOAT64'],
  NUMERIC: ['BIGNUMERIC', 'FLOAT64'],
};

/** Whether a column's type may become the other. https://cloud.google.com/bigquery/docs/managing-table-schemas */
const canWiden = (from: FieldType, to: FieldType): boolean =>
  from === to || (widenings[from]?.includes(to) ?? false);

/** Throws `invalid` unless a table's columns may become these: only added, relaxed or widened. */
export function checkSchemaUpdate(
  table: string,
  from: readonly Field[],
  to: readonly Field[],
): void {
  const refuse = (what: string): never => {
    throw new ServiceError('invalid', `Provided Schema does not match Table ${table}. ${what}`);
  };
  const next = new Map(to.map((field) => [field.name.toLowerCase(), field]));
  for (const old of from) {
    const field = next.get(old.name.toLowerCase());
    if (field === undefined) return refuse(`Field ${old.name} is missing in new schema`);
    next.delete(old.name.toLowerCase());
    if (!canWiden(old.type, field.type)) {
      refuse(`Field ${old.name} has changed type from ${old.type} to ${field.type}`);
    }
    const isRelaxed = old.mode === 'REQUIRED' && field.mode === 'NULLABLE';
    if (old.mode !== field.mode && !isRelaxed) {
      refuse(`Field ${old.name} has changed mode from ${old.mode} to ${field.mode}`);
    }
    if ((field.maxLength ?? Infinity) < (old.maxLength ?? Infinity)) {
      refuse(`Field ${old.name} has changed its maximum length`);
    }
    if (old.type === 'STRUCT') checkSchemaUpdate(table, old.fields, field.fields);
  }
  for (const field of next.values()) {
    if (field.mode === 'REQUIRED')
      refuse(`Cannot add required fields to an existing schema. (field: ${field.name})`);
  }
}
