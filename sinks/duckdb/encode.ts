import {
  BIGINT,
  BLOB,
  BOOLEAN,
  DATE,
  DECIMAL,
  DOUBLE,
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  type DuckDBType,
  type DuckDBValue,
  FLOAT,
  INTEGER,
  LIST,
  SMALLINT,
  TIME,
  TIMESTAMP,
  TIMESTAMPTZ,
  UINTEGER,
  VARCHAR,
} from '@duckdb/node-api';
import { PipelineError } from '../../runtime/errors.ts';
import { ExactText, type Value } from '../../schemas/change.ts';
import { decimalText } from '../../schemas/pg-text.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { duckdbTypeOf } from '../../schemas/type-mapping.ts';
import { exactTextOf } from '../lake/exact.ts';

/** A value as the lake keeps it: the cell of its column and, where that cannot hold it all, its exact text. */
export interface LakeValue {
  readonly cell: DuckDBValue;
  /** What `_cdc_exact` says of the column; null for the plain values that nearly all are. */
  readonly exact: string | null;
}

/** Makes cells of one column. */
export interface ColumnEncoder {
  /** Type of the staging vector. A UUID is staged as text: DuckDB parses it ten times faster. */
  readonly vector: DuckDBType;
  /** The plain cell; undefined when the value needs its exact text beside it. */
  readonly plain: (value: Exclude<Value, null>) => DuckDBValue | undefined;
}

/** A value of this type on its way into the lake. Throws `value-invalid` when it is of another type. */
export function encodeValue(type: LogicalType, value: Exclude<Value, null>): LakeValue {
  const cell = columnEncoder(type).plain(value);
  if (cell !== undefined) return { cell, exact: null };
  return { cell: nearestCell(type, value), exact: exactTextOf(type, value) };
}

/** Type of a staging table's column: JSON is staged as JSON, so that no cast checks or changes its text. */
export function stagedType(type: LogicalType): string {
  if (type.kind === 'array') return `${stagedType(type.element)}[]`;
  return type.kind === 'uuid' ? 'VARCHAR' : duckdbTypeOf(type);
}

/** Compiled once a column and batch: the loops over rows only see `plain`. */
export function columnEncoder(type: LogicalType): ColumnEncoder {
  switch (type.kind) {
    case 'bool':
      return { vector: BOOLEAN, plain: (value) => holds(value, 'boolean', type) };
    case 'int2':
      return { vector: SMALLINT, plain: (value) => holds(value, 'number', type) };
    case 'int4':
      return { vector: INTEGER, plain: (value) => holds(value, 'number', type) };
    case 'int8':
      return { vector: BIGINT, plain: (value) => holds(value, 'bigint', type) };
    case 'oid':
      return { vector: UINTEGER, plain: (value) => mapped(value, 'bigint', Number, type) };
    case 'float4':
      return { vector: FLOAT, plain: (value) => signedZero(value, type) };
    case 'float8':
      return { vector: DOUBLE, plain: (value) => signedZero(value, type) };
    case 'numeric':
      return numericEncoder(type);
    case 'date':
      return { vector: DATE, plain: (value) => mapped(value, 'number', dateCell, type) };
    case 'time':
      return { vector: TIME, plain: (value) => mapped(value, 'bigint', timeCell, type) };
    case 'timestamp':
      return { vector: TIMESTAMP, plain: (value) => mapped(value, 'bigint', timestampCell, type) };
    case 'timestamptz':
      return { vector: TIMESTAMPTZ, plain: (value) => mapped(value, 'bigint', momentCell, type) };
    case 'bytea':
      return { vector: BLOB, plain: (value) => bytesCell(value, type) };
    case 'uuid':
      return { vector: VARCHAR, plain: (value) => mapped(value, 'string', uuidCell, type) };
    case 'json':
    case 'jsonb':
      return { vector: VARCHAR, plain: (value) => mapped(value, 'string', jsonCell, type) };
    case 'array':
      return arrayEncoder(type.element, type);
    case 'text':
    case 'enum':
    case 'inet':
    case 'named-text':
    case 'restated':
    case 'other':
    case 'numeric-free':
      return { vector: VARCHAR, plain: (value) => holds(value, 'string', type) };
    default:
      return type satisfies never;
  }
}

type Named = { boolean: boolean; number: number; bigint: bigint; string: string };

function holds<N extends keyof Named>(value: Value, name: N, type: LogicalType) {
  // The compiler does not see that `typeof value === name` makes it a Named[N].
  if (typeof value === name) return value as Named[N];
  return refuseUnlessExact(value, type);
}

function mapped<N extends keyof Named>(
  value: Value,
  name: N,
  ...[map, type]: readonly [(value: Named[N]) => DuckDBValue | undefined, LogicalType]
): DuckDBValue | undefined {
  return typeof value === name ? map(value as Named[N]) : refuseUnlessExact(value, type);
}

function refuseUnlessExact(value: Value, type: LogicalType): undefined {
  if (value instanceof ExactText) return undefined;
  throw new PipelineError(
    'value-invalid',
    `a value of type ${type.kind} came to the lake as ${Array.isArray(value) ? 'array' : typeof value}`,
  );
}

/** DuckDB may lose the sign of −0 when it compresses a column: it is kept as text as well. */
function signedZero(value: Value, type: LogicalType): DuckDBValue | undefined {
  if (typeof value !== 'number') return refuseUnlessExact(value, type);
  return Object.is(value, -0) ? undefined : value;
}

function numericEncoder(type: Extract<LogicalType, { kind: 'numeric' }>): ColumnEncoder {
  const { precision, scale } = type;
  if (!duckdbTypeOf(type).startsWith('DECIMAL')) {
    const toText = (value: bigint) => decimalText(value, scale);
    return { vector: VARCHAR, plain: (value) => mapped(value, 'bigint', toText, type) };
  }
  const toDecimal = (value: bigint) => new DuckDBDecimalValue(value, precision, scale);
  const plain = (value: Value) => mapped(value, 'bigint', toDecimal, type);
  return { vector: DECIMAL(precision, scale), plain };
}

const dateCell = (days: number) => new DuckDBDateValue(days);
const timeCell = (micros: bigint) => new DuckDBTimeValue(micros);

/** DuckDB's timestamps end at 294247-01-10, before PostgreSQL's, and keep the last one for infinity. */
const timestampUsMax = 2n ** 63n - 2n;
const isTimestamp = (micros: bigint) => -timestampUsMax <= micros && micros <= timestampUsMax;
const timestampCell = (micros: bigint) =>
  isTimestamp(micros) ? new DuckDBTimestampValue(micros) : undefined;
const momentCell = (micros: bigint) =>
  isTimestamp(micros) ? new DuckDBTimestampTZValue(micros) : undefined;

function bytesCell(value: Value, type: LogicalType): DuckDBValue | undefined {
  return value instanceof Uint8Array ? new DuckDBBlobValue(value) : refuseUnlessExact(value, type);
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const uuidCell = (text: string) => (uuidPattern.test(text) ? text : undefined);

/**
 * JSON text is kept as it came. DuckDB's JSON functions fail, for all rows, on half a surrogate pair,
 * which PostgreSQL's `json` (not `jsonb`) lets pass: such a text stays beside the column.
 */
const jsonCell = (text: string) => (hasLoneSurrogate(text) ? undefined : text);

export function hasLoneSurrogate(json: string): boolean {
  if (!/\\u[dD][89a-fA-F]/.test(json)) return false;
  const rest = json
    .replaceAll('\\\\', '')
    .replaceAll(/\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}/g, '');
  return /\\u[dD][89a-fA-F]/.test(rest);
}

function arrayEncoder(element: LogicalType, type: LogicalType): ColumnEncoder {
  const { vector, plain } = columnEncoder(element);
  const list = (value: Value): DuckDBValue | undefined => {
    if (!Array.isArray(value)) return refuseUnlessExact(value, type);
    const items: DuckDBValue[] = [];
    for (const item of value as readonly Value[]) {
      const cell = item === null ? null : plain(item);
      if (cell === undefined) return undefined;
      items.push(cell);
    }
    return new DuckDBListValue(items);
  };
  return { vector: LIST(vector), plain: list };
}

const infinities = {
  date: { infinity: DuckDBDateValue.PosInf, '-infinity': DuckDBDateValue.NegInf },
  timestamp: { infinity: DuckDBTimestampValue.PosInf, '-infinity': DuckDBTimestampValue.NegInf },
  timestamptz: {
    infinity: DuckDBTimestampTZValue.PosInf,
    '-infinity': DuckDBTimestampTZValue.NegInf,
  },
} as const;

/** What the column shows of a value whose truth is in `_cdc_exact`: as near as its type comes, else NULL. */
function nearestCell(type: LogicalType, value: Exclude<Value, null>): DuckDBValue {
  if (typeof value === 'number') return value;
  if (Array.isArray(value)) {
    if (type.kind !== 'array') return null;
    const { element } = type;
    const items = (value as readonly Value[]).map((item) =>
      item === null ? null : encodeValue(element, item).cell,
    );
    // A NULL that was none at the source would be a lie.
    const isWhole = items.every((item, index) => item !== null || value[index] === null);
    return isWhole ? new DuckDBListValue(items) : null;
  }
  if (!(value instanceof ExactText)) return null;
  if (duckdbTypeOf(type) === 'VARCHAR') return value.text;
  if (type.kind === 'date' || type.kind === 'timestamp' || type.kind === 'timestamptz') {
    if (value.text === 'infinity' || value.text === '-infinity') {
      return infinities[type.kind][value.text];
    }
  }
  return null;
}
