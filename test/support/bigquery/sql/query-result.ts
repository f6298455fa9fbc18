import {
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListType,
  DuckDBListValue,
  DuckDBStructType,
  DuckDBStructValue,
  DuckDBTimeValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBType,
  DuckDBTypeId,
  type DuckDBValue,
} from '@duckdb/node-api';
import { ServiceError } from '../service-error.ts';
import type { Field, FieldType } from '../table-schema.ts';
import { bignumericScale, decimalText } from '../value-rules.ts';

/** Rows as REST answers them: `f` the cells of a row, `v` a cell's value. */
export interface ResultRow {
  readonly f: readonly { readonly v: unknown }[];
}

export interface QueryResult {
  readonly fields: readonly Field[];
  readonly rows: readonly (readonly DuckDBValue[])[];
}

const scalarTypes: Partial<Record<DuckDBTypeId, FieldType>> = {
  [DuckDBTypeId.BOOLEAN]: 'BOOL',
  [DuckDBTypeId.TINYINT]: 'INT64',
  [DuckDBTypeId.SMALLINT]: 'INT64',
  [DuckDBTypeId.INTEGER]: 'INT64',
  [DuckDBTypeId.BIGINT]: 'INT64',
  [DuckDBTypeId.UINTEGER]: 'INT64',
  [DuckDBTypeId.UBIGINT]: 'INT64',
  [DuckDBTypeId.HUGEINT]: 'INT64',
  [DuckDBTypeId.FLOAT]: 'FLOAT64',
  [DuckDBTypeId.DOUBLE]: 'FLOAT64',
  [DuckDBTypeId.DECIMAL]: 'NUMERIC',
  [DuckDBTypeId.VARCHAR]: 'STRING',
  [DuckDBTypeId.BLOB]: 'BYTES',
  [DuckDBTypeId.DATE]: 'DATE',
  [DuckDBTypeId.TIME]: 'TIME',
  [DuckDBTypeId.TIMESTAMP]: 'DATETIME',
  [DuckDBTypeId.TIMESTAMP_TZ]: 'TIMESTAMP',
  [DuckDBTypeId.SQLNULL]: 'INT64',
};

/** The column of a result, by DuckDB's type. Throws `invalidQuery` for a type that BigQuery has not. */
export function resultField(name: string, type: DuckDBType): Field {
  if (type instanceof DuckDBListType)
    return { ...resultField(name, type.valueType), mode: 'REPEATED' };
  if (String(type) === 'STRUCT("bignumeric" BIGNUM)')
    return { name, type: 'BIGNUMERIC', mode: 'NULLABLE', fields: [] };
  if (type instanceof DuckDBStructType) {
    const fields = type.entryNames.map((inner, index) =>
      resultField(inner, type.entryTypes[index] as DuckDBType),
    );
    return { name, type: 'STRUCT', mode: 'NULLABLE', fields };
  }
  const scalar = type.alias === 'JSON' ? 'JSON' : scalarTypes[type.typeId];
  if (scalar === undefined) {
    throw new ServiceError(
      'invalidQuery',
      `Column ${name} has type ${String(type)}, which BigQuery has not`,
    );
  }
  return { name, type: scalar, mode: 'NULLABLE', fields: [] };
}

const pad = (value: number | bigint, length: number): string => String(value).padStart(length, '0');

function timeText(micros: bigint): string {
  const seconds = micros / 1_000_000n;
  const fraction = micros % 1_000_000n;
  const text = [seconds / 3600n, (seconds / 60n) % 60n, seconds % 60n]
    .map((part) => pad(part, 2))
    .join(':');
  return fraction === 0n ? text : `${text}.${pad(fraction, 6)}`;
}

function dateText(days: number): string {
  const date = new Date(days * 86_400_000);
  return `${pad(date.getUTCFullYear(), 4)}-${pad(date.getUTCMonth() + 1, 2)}-${pad(date.getUTCDate(), 2)}`;
}

function dateTimeText(micros: bigint): string {
  const dayMicros = 86_400_000_000n;
  const time = ((micros % dayMicros) + dayMicros) % dayMicros;
  return `${dateText(Number((micros - time) / dayMicros))}T${timeText(time)}`;
}

/** A value as REST answers it. https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/list */
function cellText(field: Field, value: DuckDBValue, isInt64Timestamp: boolean): unknown {
  if (field.mode === 'REPEATED') {
    const items = value instanceof DuckDBListValue ? value.items : [];
    const element: Field = { ...field, mode: 'NULLABLE' };
    return items.map((item) => ({ v: cellText(element, item, isInt64Timestamp) }));
  }
  if (value === null) return null;
  if (value instanceof DuckDBStructValue && field.type === 'BIGNUMERIC')
    return decimalText(value.entries['bignumeric'] as bigint, bignumericScale);
  if (value instanceof DuckDBStructValue) {
    return {
      f: field.fields.map((inner) => ({
        v: cellText(inner, value.entries[inner.name] ?? null, isInt64Timestamp),
      })),
    };
  }
  if (value instanceof DuckDBDecimalValue) return decimalText(value.value, value.scale);
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString('base64');
  if (value instanceof DuckDBDateValue) return dateText(value.days);
  if (value instanceof DuckDBTimeValue) return timeText(value.micros);
  if (value instanceof DuckDBTimestampValue) return dateTimeText(value.micros);
  if (value instanceof DuckDBTimestampTZValue) {
    return isInt64Timestamp ? String(value.micros) : String(Number(value.micros) / 1e6);
  }
  return String(value);
}

const int64Max = 2n ** 63n - 1n;
const int64Min = -(2n ** 63n);
const yearPattern = /^\d{4}-/;
const microsMin = -62_135_596_800_000_000n;
const microsMax = 253_402_300_799_999_999n;

function checkCell(field: Field, value: DuckDBValue): void {
  if (value === null) return;
  const refuse = (what: string): never => {
    throw new ServiceError('invalidQuery', what);
  };
  if (value instanceof DuckDBListValue) {
    for (const item of value.items) {
      if (item === null)
        refuse(`Array cannot have a null element; error in writing field ${field.name}`);
      checkCell({ ...field, mode: 'NULLABLE' }, item);
    }
  } else if (typeof value === 'bigint' && (value > int64Max || value < int64Min)) {
    refuse('int64 overflow');
  } else if (value instanceof DuckDBTimestampTZValue) {
    if (value.micros < microsMin || value.micros > microsMax) refuse('TIMESTAMP value overflows');
  } else if (field.type === 'DATE' || field.type === 'DATETIME') {
    const text = String(cellText(field, value, true));
    if (!yearPattern.test(text) || text.startsWith('0000')) refuse(`${field.type} value overflows`);
  }
}

/** Throws `invalidQuery` for a result that no column of BigQuery's can show. */
export function checkCells({ fields, rows }: QueryResult): void {
  for (const row of rows) {
    for (const [index, field] of fields.entries()) checkCell(field, row[index] ?? null);
  }
}

export const resultRows = (result: QueryResult, isInt64Timestamp: boolean): ResultRow[] =>
  result.rows.map((row) => ({
    f: result.fields.map((field, index) => ({
      v: cellText(field, row[index] ?? null, isInt64Timestamp),
    })),
  }));
