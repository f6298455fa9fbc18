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
  UUID,
  VARCHAR,
} from '@duckdb/node-api';
import { PipelineError } from '../../runtime/errors.ts';
import { ExactText, type Value } from '../../schemas/change.ts';
import { decimalText } from '../../schemas/pg-text.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { duckdbTypeOf } from '../../schemas/type-mapping.ts';
import { exactTextOf } from '../lake/exact.ts';
import { type Cell, int32DigitsMax, int64DigitsMax } from './vectors.ts';

/** A value as the lake keeps it: the cell of its column and, where that cannot hold it all, its exact text. */
export interface LakeValue {
  readonly cell: Cell | null;
  /** What `_cdc_exact` says of the column; null for the plain values that nearly all are. */
  readonly exact: string | null;
}

/** Makes cells of one column. */
export interface ColumnEncoder {
  readonly vector: DuckDBType;
  /** The plain cell; undefined when the value needs its exact text beside it. */
  readonly plain: (value: Exclude<Value, null>) => Cell | undefined;
  /** A cell as the client wants it in a list. */
  readonly item: (cell: Cell) => DuckDBValue;
}

/** A value of this type on its way into the lake. Throws `value-invalid` when it is of another type. */
export function encodeValue(type: LogicalType, value: Exclude<Value, null>): LakeValue {
  const cell = columnEncoder(type).plain(value);
  if (cell !== undefined) return { cell, exact: null };
  return { cell: nearestCell(type, value), exact: exactTextOf(type, value) };
}

/**
 * Type of a staging table's column: JSON is staged as JSON, so that no cast checks or changes its text; the
 * UUIDs of a list as text, which DuckDB reads ten times faster than the client makes its objects.
 */
export function stagedType(type: LogicalType): string {
  if (type.kind !== 'array') return duckdbTypeOf(type);
  return type.element.kind === 'uuid' ? 'VARCHAR[]' : `${stagedType(type.element)}[]`;
}

/** Compiled once a column and batch: the loops over rows only see `plain`. */
export function columnEncoder(type: LogicalType): ColumnEncoder {
  switch (type.kind) {
    case 'bool':
      return encoder(BOOLEAN, type, { of: 'boolean', cell: Number, item: (cell) => cell === 1 });
    case 'int2':
      return encoder(SMALLINT, type, { of: 'number' });
    case 'int4':
      return encoder(INTEGER, type, { of: 'number' });
    case 'int8':
      return encoder(BIGINT, type, { of: 'bigint' });
    case 'oid':
      return encoder(UINTEGER, type, { of: 'bigint', cell: Number });
    case 'float4':
      return encoder(FLOAT, type, { of: 'number', cell: floatCell });
    case 'float8':
      return encoder(DOUBLE, type, { of: 'number', cell: floatCell });
    case 'numeric':
      return numericEncoder(type);
    case 'date':
      return encoder(DATE, type, {
        of: 'number',
        item: (cell) => new DuckDBDateValue(Number(cell)),
      });
    case 'time':
      return encoder(TIME, type, {
        of: 'bigint',
        item: (cell) => new DuckDBTimeValue(whole(cell)),
      });
    case 'timestamp': {
      const item = (cell: Cell) => new DuckDBTimestampValue(whole(cell));
      return encoder(TIMESTAMP, type, { of: 'bigint', cell: momentCell, item });
    }
    case 'timestamptz': {
      const item = (cell: Cell) => new DuckDBTimestampTZValue(whole(cell));
      return encoder(TIMESTAMPTZ, type, { of: 'bigint', cell: momentCell, item });
    }
    case 'bytea':
      return { vector: BLOB, plain: (value) => bytesCell(value, type), item: asItIs };
    case 'uuid':
      return encoder(UUID, type, { of: 'string', cell: uuidCell });
    case 'json':
    case 'jsonb':
      return encoder(VARCHAR, type, { of: 'string', cell: jsonCell });
    case 'array':
      return arrayEncoder(type.element, type);
    case 'text':
    case 'enum':
    case 'inet':
    case 'named-text':
    case 'restated':
    case 'other':
    case 'numeric-free':
      return encoder(VARCHAR, type, { of: 'string' });
    default:
      return type satisfies never;
  }
}

type Named = { boolean: boolean; number: number; bigint: bigint; string: string };

interface Encoding<N extends keyof Named> {
  /** What values are. */
  readonly of: N;
  /** The plain cell of a value; the value itself if left out. */
  readonly cell?: (value: Named[N]) => Cell | undefined;
  readonly item?: (cell: Cell) => DuckDBValue;
}

function encoder<N extends keyof Named>(
  vector: DuckDBType,
  type: LogicalType,
  { of, cell, item = asItIs }: Encoding<N>,
): ColumnEncoder {
  // The compiler does not see that `typeof value === of` makes it a Named[N].
  const toCell = (cell ?? asItIs) as (value: Value) => Cell | undefined;
  const plain = (value: Value) =>
    typeof value === of ? toCell(value) : refuseUnlessExact(value, type);
  return { vector, plain, item };
}

const asItIs = (cell: Cell): DuckDBValue => cell;
const whole = (cell: Cell): bigint => BigInt(cell as number | bigint);

function refuseUnlessExact(value: Value, type: LogicalType): undefined {
  if (value instanceof ExactText) return undefined;
  throw new PipelineError(
    'value-invalid',
    `a value of type ${type.kind} came to the lake as ${Array.isArray(value) ? 'array' : typeof value}`,
  );
}

/** DuckDB may lose the sign of −0 when it compresses a column: it is kept as text as well. */
const floatCell = (value: number) => (Object.is(value, -0) ? undefined : value);

function numericEncoder(type: Extract<LogicalType, { kind: 'numeric' }>): ColumnEncoder {
  const { precision, scale } = type;
  if (!duckdbTypeOf(type).startsWith('DECIMAL')) {
    return encoder(VARCHAR, type, { of: 'bigint', cell: (value) => decimalText(value, scale) });
  }
  const vector = DECIMAL(precision, scale);
  const toDecimal = (value: bigint) => new DuckDBDecimalValue(value, precision, scale);
  if (precision > int64DigitsMax) return encoder(vector, type, { of: 'bigint', cell: toDecimal });
  const item = (cell: Cell) => toDecimal(whole(cell));
  if (precision > int32DigitsMax) return encoder(vector, type, { of: 'bigint', item });
  return encoder(vector, type, { of: 'bigint', cell: Number, item });
}

/** DuckDB's timestamps end at 294247-01-10, before PostgreSQL's, and keep the last one for infinity. */
const timestampUsMax = 2n ** 63n - 2n;
const momentCell = (us: bigint) => (-timestampUsMax <= us && us <= timestampUsMax ? us : undefined);

function bytesCell(value: Value, type: LogicalType): Cell | undefined {
  return value instanceof Uint8Array ? new DuckDBBlobValue(value) : refuseUnlessExact(value, type);
}

const uuidCell = (text: string) => (isUuid(text) ? text : undefined);

/** PostgreSQL's own form, told by a loop: a pattern takes five times as long. */
function isUuid(text: string): boolean {
  if (text.length !== 36) return false;
  let strange = 0;
  for (let at = 0; at < 36; at += 1)
    strange |= (uuidForm[text.charCodeAt(at)] ?? 3) & (uuidParts[at] ?? 0);
  return strange === 0;
}

const [noDigit, noDash] = [1, 2];
/** What a character is not, and what each place has to be. */
const uuidForm = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code);
  return (/[0-9a-f]/.test(character) ? 0 : noDigit) | (character === '-' ? 0 : noDash);
});
const uuidParts = Array.from({ length: 36 }, (_, at) =>
  [8, 13, 18, 23].includes(at) ? noDash : noDigit,
);

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
  const { vector, plain, item } = columnEncoder(element);
  const list = (value: Value): Cell | undefined => {
    if (!Array.isArray(value)) return refuseUnlessExact(value, type);
    const items: DuckDBValue[] = [];
    for (const one of value as readonly Value[]) {
      const cell = one === null ? null : plain(one);
      if (cell === undefined) return undefined;
      items.push(cell === null ? null : item(cell));
    }
    return new DuckDBListValue(items);
  };
  return { vector: LIST(element.kind === 'uuid' ? VARCHAR : vector), plain: list, item: asItIs };
}

const infinities = {
  date: { infinity: DuckDBDateValue.PosInf.days, '-infinity': DuckDBDateValue.NegInf.days },
  timestamp: {
    infinity: DuckDBTimestampValue.PosInf.micros,
    '-infinity': DuckDBTimestampValue.NegInf.micros,
  },
} as const;

/** What the column shows of a value whose truth is in `_cdc_exact`: as near as its type comes, else NULL. */
function nearestCell(type: LogicalType, value: Exclude<Value, null>): Cell | null {
  if (typeof value === 'number') return value;
  if (Array.isArray(value)) {
    return type.kind === 'array' ? nearestList(type.element, value as readonly Value[]) : null;
  }
  if (!(value instanceof ExactText)) return null;
  if (duckdbTypeOf(type) === 'VARCHAR') return value.text;
  if (type.kind === 'date' || type.kind === 'timestamp' || type.kind === 'timestamptz') {
    const { text } = value;
    const { [type.kind === 'date' ? 'date' : 'timestamp']: cells } = infinities;
    if (text === 'infinity' || text === '-infinity') return cells[text];
  }
  return null;
}

function nearestList(element: LogicalType, values: readonly Value[]): Cell | null {
  const { item } = columnEncoder(element);
  const items = values.map((value) => {
    const cell = value === null ? null : encodeValue(element, value).cell;
    return cell === null ? null : item(cell);
  });
  // A NULL that was none at the source would be a lie.
  const isWhole = items.every((one, index) => one !== null || values[index] === null);
  return isWhole ? new DuckDBListValue(items) : null;
}
