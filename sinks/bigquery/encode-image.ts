import { assert } from '../../runtime/assert.ts';
import { ExactText, type RowImage, type Value } from '../../schemas/change.ts';
import { civilFromDays } from '../../schemas/civil-date.ts';
import type { VersionColumn } from '../lake/layout.ts';
import { encodeValue } from './encode.ts';
import { fieldTag, fieldTypes, type ProtoType, type ProtoWriter } from './proto-writer.ts';

/** A field of `google.protobuf.DescriptorProto`, as the client takes it. */
export interface RowField {
  readonly name: string;
  readonly number: number;
  /** 1 optional, 3 repeated. */
  readonly label: 1 | 3;
  /** Number of `google.protobuf.FieldDescriptorProto.Type`: the client takes no names. */
  readonly type: number;
  /** The column's name where it is no name of protobuf's. */
  readonly options?: { readonly '.google.cloud.bigquery.storage.v1.columnName': string };
}

export interface RowDescriptor {
  readonly name: string;
  readonly field: readonly RowField[];
}

/** Writes a value that is not null; false (and nothing written) if it is not the plain one of its type. */
type WriteValue = (writer: ProtoWriter, value: Exclude<Value, null>) => boolean;

interface ColumnWriter {
  readonly column: VersionColumn;
  readonly plain: WriteValue;
  readonly tag: number;
  readonly type: ProtoType;
}

/** Names that protobuf takes for a field. https://protobuf.dev/reference/protobuf/proto2-spec/#identifiers */
const fieldName = /^[A-Za-z_]\w*$/;

/** The source's columns of a row as proto2 fields, numbered from `firstNumber` on; compiled once a table version. */
export class ImageEncoder {
  readonly fields: readonly RowField[];
  readonly #columns: readonly ColumnWriter[];

  constructor(columns: readonly VersionColumn[], firstNumber: number) {
    this.#columns = columns.map((column, index) => {
      const type = protoTypeOf(column.lakeType);
      const tag = fieldTag(firstNumber + index, type);
      return { column, type, tag, plain: plainWriter(column, tag) };
    });
    this.fields = this.#columns.map((one, index) => columnField(one, firstNumber + index));
  }

  /** Writes the values; gives what `_cdc_exact` says of them, null when the columns hold all of it. */
  write(writer: ProtoWriter, image: RowImage): string | null {
    const exacts: Record<string, string> = {};
    let hasExact = false;
    for (let index = 0; index < this.#columns.length; index += 1) {
      const value = image[index] ?? null;
      const one = this.#columns[index];
      if (value === null || one === undefined || one.plain(writer, value)) continue;
      const text = writeNearest(writer, one, value);
      if (text === null) continue;
      exacts[one.column.physical] = text;
      hasExact = true;
    }
    return hasExact ? JSON.stringify(exacts) : null;
  }
}

function columnField({ column, type }: ColumnWriter, number: number): RowField {
  const { physical } = column;
  const field = { number, label: 1, type: fieldTypes[type] } as const;
  if (fieldName.test(physical)) return { name: physical, ...field };
  const options = { '.google.cloud.bigquery.storage.v1.columnName': physical } as const;
  return { name: `column_${number}`, ...field, options };
}

/** How a column of BigQuery's travels. NUMERIC and JSON go as text. */
function protoTypeOf(lakeType: string): ProtoType {
  switch (lakeType) {
    case 'BOOL':
      return 'bool';
    case 'INT64':
    case 'TIMESTAMP':
    case 'DATETIME':
    case 'TIME':
      return 'int64';
    case 'FLOAT64':
      return 'double';
    case 'DATE':
      return 'int32';
    case 'BYTES':
      return 'bytes';
    default:
      return 'string';
  }
}

const dayMin = -719_162;
const dayMax = 2_932_896;
const usPerDay = 86_400_000_000n;
const momentMin = BigInt(dayMin) * usPerDay;
const momentEnd = BigInt(dayMax + 1) * usPerDay;

/** Writes the values that most are; all others take the way of `encodeValue`. */
function plainWriter({ lakeType }: VersionColumn, tag: number): WriteValue {
  switch (lakeType) {
    case 'BOOL':
      return (writer, value) => {
        if (typeof value !== 'boolean') return false;
        writer.bool(tag, value);
        return true;
      };
    case 'INT64':
      return (writer, value) => {
        if (typeof value === 'number') writer.integer(tag, value);
        else if (typeof value === 'bigint') writer.int64(tag, value);
        else return false;
        return true;
      };
    case 'FLOAT64':
      return (writer, value) => {
        if (typeof value !== 'number' || Object.is(value, -0)) return false;
        writer.double(tag, value);
        return true;
      };
    case 'DATE':
      return (writer, value) => {
        if (typeof value !== 'number' || value < dayMin || value > dayMax) return false;
        writer.integer(tag, value);
        return true;
      };
    case 'TIMESTAMP':
      return (writer, value) => {
        if (typeof value !== 'bigint' || value < momentMin || value >= momentEnd) return false;
        writer.int64(tag, value);
        return true;
      };
    case 'BYTES':
      return (writer, value) => {
        if (!(value instanceof Uint8Array)) return false;
        writer.bytes(tag, value);
        return true;
      };
    case 'STRING':
      return (writer, value) => {
        if (typeof value !== 'string') return false;
        writer.text(tag, value);
        return true;
      };
    case 'DATETIME':
    case 'TIME':
      return civilWriter(lakeType, tag);
    default:
      return () => false;
  }
}

function civilWriter(lakeType: 'DATETIME' | 'TIME', tag: number): WriteValue {
  const [min, end] = lakeType === 'TIME' ? [0n, usPerDay] : [momentMin, momentEnd];
  return (writer, value) => {
    if (typeof value !== 'bigint' || value < min || value >= end) return false;
    writer.int64(tag, packedCivil(value, lakeType));
    return true;
  };
}

/**
 * Year (DATETIME only), month, day, hour, minute and second in 14, 4, 5, 5, 6 and 6 bits, then 20 of microseconds.
 * https://cloud.google.com/java/docs/reference/google-cloud-bigquerystorage/latest/com.google.cloud.bigquery.storage.v1.CivilTimeEncoder
 */
function packedCivil(micros: bigint, lakeType: 'DATETIME' | 'TIME'): bigint {
  const ofDay = Number(((micros % usPerDay) + usPerDay) % usPerDay);
  const seconds = Math.floor(ofDay / 1_000_000);
  const clock =
    (Math.floor(seconds / 3600) << 12) | (Math.floor((seconds % 3600) / 60) << 6) | (seconds % 60);
  let packed = clock;
  if (lakeType === 'DATETIME') {
    const days = Number((micros - BigInt(ofDay)) / usPerDay);
    const { year, month, day } = civilFromDays(days);
    // 40 bits are more than JavaScript's shifts take.
    packed += year * 2 ** 26 + month * 2 ** 22 + day * 2 ** 17;
  }
  return (BigInt(packed) << 20n) | BigInt(ofDay % 1_000_000);
}

/** Writes the cell of `encodeValue`, if there is one, and gives the exact text to keep beside it. */
function writeNearest(
  writer: ProtoWriter,
  { column, tag, type }: ColumnWriter,
  value: Exclude<Value, null>,
): string | null {
  const { cell, exact } = encodeValue(column.type, value, column.lakeType);
  if (cell === null) return exact;
  if (type === 'string') writer.text(tag, String(cell));
  else if (type === 'double') writer.double(tag, Number(cell));
  else assert(value instanceof ExactText, `a ${column.lakeType} was written as it is`);
  return exact;
}
