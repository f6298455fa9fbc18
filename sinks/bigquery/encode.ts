import { PipelineError } from '../../runtime/errors.ts';
import { ExactText, type Value } from '../../schemas/change.ts';
import { decimalText } from '../../schemas/pg-text.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { bigqueryTypeOf } from '../../schemas/type-mapping.ts';
import { exactTextOf } from '../lake/exact.ts';
import { isDocument } from './column-policy.ts';
import { readJson } from './json-document.ts';

/** A cell of newline-delimited JSON. Never a BigInt: the client's process dies of it. */
export type StagedCell = null | boolean | number | string;

/** A value as the lake keeps it: the cell of its column and, where that cannot hold it all, its exact text. */
export interface LakeValue {
  readonly cell: StagedCell;
  /** What `_cdc_exact` says of the column; null for the plain values that nearly all are. */
  readonly exact: string | null;
}

/**
 * A value of this type on its way into a column of the lake. Throws `value-invalid` when it is of another type.
 * `lakeType` is the column's: for a document it says how it is kept.
 */
export function encodeValue(
  type: LogicalType,
  value: Exclude<Value, null>,
  lakeType: string = bigqueryTypeOf(type),
): LakeValue {
  if (isDocument(type.kind) && lakeType === 'JSON') return encodeDocument(type, value);
  const cell = plainCell(type, value);
  if (cell !== undefined) return { cell, exact: null };
  return { cell: nearestCell(type, value), exact: exactTextOf(type, value) };
}

/** The document, if BigQuery's JSON keeps its value, and its text beside it unless that comes back by itself. */
function encodeDocument(type: LogicalType, value: Exclude<Value, null>): LakeValue {
  if (value instanceof ExactText) return { cell: null, exact: value.text };
  if (typeof value !== 'string') return refuse(type, value);
  const { canonical, problem } = readJson(value);
  if (problem !== null) return { cell: null, exact: value };
  return { cell: value, exact: canonical === value ? null : value };
}

/**
 * Why a column cannot hold a value, which is then NULL there; null when it holds it, though it may need its exact
 * text beside it to be told apart (−0, the spelling of a document).
 */
export function unfitReason(
  type: LogicalType,
  value: Exclude<Value, null>,
  lakeType: string,
): string | null {
  if (isDocument(type.kind) && lakeType === 'JSON') {
    return typeof value === 'string' ? readJson(value).problem : 'it is no JSON';
  }
  if (encodeValue(type, value, lakeType).cell !== null) return null;
  return `BigQuery's ${lakeType} has no such value`;
}

/** Type of a staging table's column. Bytes go as base64 and JSON as its text, and are parsed on the way on. */
export function stagedType(lakeType: string): string {
  return lakeType === 'BYTES' || lakeType === 'JSON' ? 'STRING' : lakeType;
}

/** The plain cell; undefined when the value needs its exact text beside it. */
function plainCell(type: LogicalType, value: Exclude<Value, null>): StagedCell | undefined {
  if (value instanceof ExactText) return undefined;
  switch (type.kind) {
    case 'bool':
      return typeof value === 'boolean' ? value : refuse(type, value);
    case 'int2':
    case 'int4':
      return typeof value === 'number' ? value : refuse(type, value);
    case 'float4':
    case 'float8':
      return typeof value === 'number' ? floatCell(value) : refuse(type, value);
    case 'int8':
    case 'oid':
      return typeof value === 'bigint' ? integerCell(value) : refuse(type, value);
    case 'numeric':
      return typeof value === 'bigint' ? decimalText(value, type.scale) : refuse(type, value);
    case 'date':
      return typeof value === 'number' ? dateCell(value) : refuse(type, value);
    case 'time':
      return typeof value === 'bigint' ? timeCell(value) : refuse(type, value);
    case 'timestamp':
    case 'timestamptz':
      return typeof value === 'bigint' ? momentCell(value) : refuse(type, value);
    case 'bytea':
      return value instanceof Uint8Array
        ? Buffer.from(value).toString('base64')
        : refuse(type, value);
    case 'array':
      return Array.isArray(value) ? arrayCell(type.element, value) : refuse(type, value);
    default:
      return typeof value === 'string' ? value : refuse(type, value);
  }
}

function refuse(type: LogicalType, value: Value): never {
  throw new PipelineError(
    'value-invalid',
    `a value of type ${type.kind} came to the lake as ${Array.isArray(value) ? 'array' : typeof value}`,
  );
}

/** The sign of −0 is kept as text as well: engines that pack columns may lose it. */
function floatCell(value: number): StagedCell | undefined {
  if (Object.is(value, -0)) return undefined;
  return Number.isFinite(value) ? value : String(value);
}

const integerCell = (value: bigint): StagedCell =>
  Number.isSafeInteger(Number(value)) ? Number(value) : String(value);

/** BigQuery's times are those of the years 1 to 9999. https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types */
const dayMin = -719_162;
const dayMax = 2_932_896;
const usPerDay = 86_400_000_000n;

function dateCell(days: number): string | undefined {
  if (days < dayMin || days > dayMax) return undefined;
  return new Date(days * 86_400_000).toISOString().slice(0, 10);
}

/** PostgreSQL's 24:00:00 is no time of BigQuery's. */
function timeCell(micros: bigint): string | undefined {
  if (micros < 0n || micros >= usPerDay) return undefined;
  return new Date(Number(micros / 1000n)).toISOString().slice(11, 23) + microsText(micros);
}

function momentCell(micros: bigint): string | undefined {
  if (micros < BigInt(dayMin) * usPerDay || micros >= BigInt(dayMax + 1) * usPerDay) {
    return undefined;
  }
  return momentText(micros);
}

/** Microseconds since 1970 as "2024-01-31 10:00:00.123456", in UTC. The years 1 to 9999. */
export function momentText(micros: bigint): string {
  const rest = ((micros % 1000n) + 1000n) % 1000n;
  const text = new Date(Number((micros - rest) / 1000n)).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 23)}${microsText(rest)}`;
}

const microsText = (micros: bigint): string => String(micros % 1000n).padStart(3, '0');

function arrayCell(element: LogicalType, values: readonly Value[]): string | undefined {
  const items: StagedCell[] = [];
  for (const value of values) {
    const cell = value === null ? null : plainCell(element, value);
    if (cell === undefined) return undefined;
    items.push(cell);
  }
  return JSON.stringify(items);
}

/** What the column shows of a value whose truth is in `_cdc_exact`: as near as its type comes, else NULL. */
function nearestCell(type: LogicalType, value: Exclude<Value, null>): StagedCell {
  if (typeof value === 'number') return Object.is(value, -0) ? 0 : null;
  if (value instanceof ExactText) return bigqueryTypeOf(type) === 'STRING' ? value.text : null;
  if (!Array.isArray(value) || type.kind !== 'array') return null;
  const { element } = type;
  const items = (value as readonly Value[]).map((item) =>
    item === null ? null : encodeValue(element, item).cell,
  );
  // A NULL that was none at the source would be a lie.
  const isWhole = items.every((item, index) => item !== null || value[index] === null);
  return isWhole ? JSON.stringify(items) : null;
}
