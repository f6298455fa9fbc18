import { assert } from '../../runtime/assert.ts';
import { ExactText, type Change, type RowImage, type Value } from '../../schemas/change.ts';
import { civilFromDays } from '../../schemas/civil-date.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import type { VersionColumn, VersionLayout } from '../lake/layout.ts';
import { encodeValue } from './encode.ts';
import { fieldTag, fieldTypes, type ProtoType, ProtoWriter } from './proto-writer.ts';

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

/** What is the same for all rows of a batch. */
export interface RowsOrigin {
  readonly batchId: string;
  readonly loadedAtUs: bigint;
}

/** Writes a value that is not null; false (and nothing written) if it is not the plain one of its type. */
type WriteValue = (writer: ProtoWriter, value: Exclude<Value, null>) => boolean;

interface ColumnWriter {
  readonly column: VersionColumn;
  readonly plain: WriteValue;
  readonly tag: number;
  readonly type: ProtoType;
}

const metaTypes = {
  _cdc_op: 'string',
  _cdc_seq: 'string',
  _cdc_lsn: 'string',
  _cdc_xid: 'int64',
  _cdc_committed_at: 'int64',
  _cdc_captured_at: 'int64',
  _cdc_loaded_at: 'int64',
  _cdc_topic: 'string',
  _cdc_partition: 'int64',
  _cdc_offset: 'int64',
  _cdc_schema_id: 'int64',
  _cdc_unchanged: 'string',
  _cdc_exact: 'string',
  _cdc_batch_id: 'string',
} as const satisfies Readonly<Record<string, ProtoType>>;

const metaNames = Object.keys(metaTypes) as readonly (keyof typeof metaTypes)[];
const tags = Object.fromEntries(
  metaNames.map((name, index) => [name, fieldTag(index + 1, metaTypes[name])]),
) as Readonly<Record<keyof typeof metaTypes, number>>;

/** Names that protobuf takes for a field. https://protobuf.dev/reference/protobuf/proto2-spec/#identifiers */
const fieldName = /^[A-Za-z_]\w*$/;

/**
 * Rows of `T__changes` as proto2 messages, compiled once a table version. They mean what the newline-delimited
 * JSON of batch mode means: the same cell, and the same text in `_cdc_exact` where a column cannot hold a value.
 * https://cloud.google.com/bigquery/docs/supported-data-types
 */
export class RowEncoder {
  readonly descriptor: RowDescriptor;
  readonly #layout: VersionLayout;
  readonly #columns: readonly ColumnWriter[];
  readonly #writer = new ProtoWriter();

  constructor(layout: VersionLayout) {
    this.#layout = layout;
    this.#columns = layout.columns.map((column, index) => {
      const type = protoTypeOf(column.lakeType);
      const tag = fieldTag(metaNames.length + 1 + index, type);
      return { column, type, tag, plain: plainWriter(column, tag) };
    });
    this.descriptor = { name: 'Row', field: [...metaFields(), ...this.#columns.map(columnField)] };
  }

  /** The messages of these changes, in their order. Throws `value-invalid` when a value is not of its type. */
  encode(changes: readonly Change[], origin: RowsOrigin): readonly Uint8Array[] {
    const constants = this.#constants(origin);
    return changes.map((change) => {
      try {
        return this.#row(change, constants);
      } catch (error) {
        this.#writer.discard();
        throw error;
      }
    });
  }

  #constants({ batchId, loadedAtUs }: RowsOrigin): Uint8Array {
    const { version } = this.#layout;
    this.#writer.int64(tags._cdc_loaded_at, loadedAtUs);
    this.#writer.text(tags._cdc_topic, version.topic);
    this.#writer.integer(tags._cdc_schema_id, version.valueSchemaId);
    this.#writer.text(tags._cdc_batch_id, batchId);
    return this.#writer.finish();
  }

  #row(change: Change, constants: Uint8Array): Uint8Array {
    const writer = this.#writer;
    writer.raw(constants);
    writer.text(tags._cdc_op, change.op);
    writer.text(tags._cdc_seq, change.seq);
    writer.text(tags._cdc_lsn, formatLsn(change.lsn));
    if (change.xid !== null) writer.int64(tags._cdc_xid, change.xid);
    if (change.committedAtUs !== null) {
      writer.int64(tags._cdc_committed_at, change.committedAtUs);
    }
    writer.int64(tags._cdc_captured_at, change.capturedAtUs);
    writer.integer(tags._cdc_partition, change.partition);
    writer.integer(tags._cdc_offset, change.offset);
    if ('unchanged' in change) {
      for (const index of change.unchanged) {
        writer.text(tags._cdc_unchanged, this.#layout.columns[index]?.name ?? '');
      }
    }
    if (change.op !== 't') this.#image(change.op === 'd' ? change.before : change.after);
    return writer.finish();
  }

  #image(image: RowImage): void {
    const exacts: Record<string, string> = {};
    let hasExact = false;
    for (let index = 0; index < this.#columns.length; index += 1) {
      const value = image[index] ?? null;
      const one = this.#columns[index];
      if (value === null || one === undefined || one.plain(this.#writer, value)) continue;
      const text = writeNearest(this.#writer, one, value);
      if (text === null) continue;
      exacts[one.column.physical] = text;
      hasExact = true;
    }
    if (hasExact) this.#writer.text(tags._cdc_exact, JSON.stringify(exacts));
  }
}

function metaFields(): readonly RowField[] {
  return metaNames.map((name, index) => ({
    name,
    number: index + 1,
    label: name === '_cdc_unchanged' ? 3 : 1,
    type: fieldTypes[metaTypes[name]],
  }));
}

function columnField({ column, type }: ColumnWriter, index: number): RowField {
  const number = metaNames.length + 1 + index;
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
  const { cell, exact } = encodeValue(column.type, value);
  if (cell === null) return exact;
  if (type === 'string') writer.text(tag, String(cell));
  else if (type === 'double') writer.double(tag, Number(cell));
  else assert(value instanceof ExactText, `a ${column.lakeType} was written as it is`);
  return exact;
}
