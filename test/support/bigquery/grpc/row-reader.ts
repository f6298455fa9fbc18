import { status } from '@grpc/grpc-js';
import type { protos } from '@google-cloud/bigquery-storage';
import protobuf from 'protobufjs';
import { ServiceError } from '../service-error.ts';
import { compareSequences, type KeyedChange } from '../stream-store.ts';
import type { Field, FieldType } from '../table-schema.ts';
import { checkRow, type Row } from '../value-rules.ts';
import { type RowError, WriteError } from './write-error.ts';

type Descriptor = protos.google.protobuf.IDescriptorProto;
type FieldDescriptor = protos.google.protobuf.IFieldDescriptorProto;

/** Numbers of `FieldDescriptorProto.Type` that rows of scalars are made of. */
const protoTypes: Readonly<Record<number, string>> = {
  1: 'double',
  2: 'float',
  3: 'int64',
  5: 'int32',
  8: 'bool',
  9: 'string',
  12: 'bytes',
};
const repeated = 3;

/** Types of protobuf that a column takes. https://cloud.google.com/bigquery/docs/supported-data-types */
const columnTypes: Readonly<Record<FieldType, readonly string[]>> = {
  BOOL: ['bool', 'int32', 'int64'],
  BYTES: ['bytes', 'string'],
  DATE: ['int32', 'int64', 'string'],
  DATETIME: ['string', 'int64'],
  TIME: ['string', 'int64'],
  TIMESTAMP: ['int64', 'string'],
  FLOAT64: ['double', 'float'],
  INT64: ['int32', 'int64'],
  JSON: ['string'],
  NUMERIC: ['string', 'int32', 'int64', 'double', 'float'],
  BIGNUMERIC: ['string', 'int32', 'int64', 'double', 'float'],
  STRING: ['string'],
  STRUCT: [],
};

const columnName = '.google.cloud.bigquery.storage.v1.columnName';
const changeType = '_CHANGE_TYPE';
const changeSequence = '_CHANGE_SEQUENCE_NUMBER';

interface Column {
  readonly name: string;
  readonly column: string;
  readonly type: string;
  readonly isRepeated: boolean;
}

/** Rows, or changes by key where the descriptor has `_CHANGE_TYPE`. */
export type ReadRows =
  | { readonly kind: 'rows'; readonly rows: readonly Row[] }
  | { readonly kind: 'changes'; readonly changes: readonly KeyedChange[] };

/** Reads the rows of one connection by the descriptor that it was told. */
export class RowReader {
  readonly #type = new protobuf.Type('Row');
  readonly #columns: readonly Column[];
  /** Whether the rows are changes by key. */
  readonly isKeyed: boolean;

  constructor(descriptor: Descriptor) {
    this.#columns = (descriptor.field ?? []).map((field) => this.#column(field));
    new protobuf.Root().add(this.#type);
    this.isKeyed = this.#columns.some(({ column }) => column === changeType);
  }

  #column(field: FieldDescriptor): Column {
    const { name, number, type: kind, label } = field;
    const type = protoTypes[Number(kind)];
    if (name === null || name === undefined || typeof number !== 'number' || type === undefined) {
      throw new WriteError(status.INVALID_ARGUMENT, `Invalid proto schema: field ${name}`);
    }
    const isRepeated = Number(label) === repeated;
    const options = isRepeated ? { packed: false } : {};
    const rule = isRepeated ? 'repeated' : 'optional';
    this.#type.add(new protobuf.Field(name, number, type, rule, undefined, options));
    return { name, type, isRepeated, column: field.options?.[columnName] || name };
  }

  /** Throws `WriteError`: for a field that no column has, one of another type, and for rows with bad values. */
  read(fields: readonly Field[], messages: readonly Uint8Array[]): ReadRows {
    this.#checkColumns(fields);
    const errors: RowError[] = [];
    const rows: Row[] = [];
    const changes: KeyedChange[] = [];
    for (const [index, message] of messages.entries()) {
      try {
        const { pseudo, row } = this.#row(fields, message);
        rows.push(row);
        if (this.isKeyed) changes.push(changeOf(row, pseudo));
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        errors.push({ index, code: 1, message: error.message });
      }
    }
    if (errors.length > 0) throw rowErrors(errors);
    return this.isKeyed ? { kind: 'changes', changes } : { kind: 'rows', rows };
  }

  #checkColumns(fields: readonly Field[]): void {
    const byName = new Map(fields.map((field) => [field.name.toLowerCase(), field]));
    for (const { column, isRepeated, type } of this.#columns) {
      if (column === changeType || column === changeSequence) continue;
      const field = byName.get(column.toLowerCase());
      if (field === undefined) {
        throw new WriteError(
          status.INVALID_ARGUMENT,
          `Input schema has more fields than BigQuery schema, extra fields: '${column}'`,
          { storage: 'SCHEMA_MISMATCH_EXTRA_FIELDS' },
        );
      }
      const isSameMode = isRepeated === (field.mode === 'REPEATED');
      if (isSameMode && columnTypes[field.type].includes(type)) continue;
      throw new WriteError(
        status.INVALID_ARGUMENT,
        `The proto field mismatched with BigQuery field at ${column}, the proto field type ${type}, BigQuery field type ${field.type}`,
      );
    }
  }

  #row(
    fields: readonly Field[],
    bytes: Uint8Array,
  ): { readonly row: Row; readonly pseudo: Readonly<Record<string, string>> } {
    const message = this.#decode(bytes);
    const types = new Map(fields.map(({ name, type }) => [name.toLowerCase(), type]));
    const values: Record<string, unknown> = {};
    const pseudo: Record<string, string> = {};
    for (const { column, isRepeated, name, type } of this.#columns) {
      // proto2: what was not set is not there, whatever its default.
      if (!Object.hasOwn(message, name)) continue;
      const value = message[name];
      const columnType = types.get(column.toLowerCase());
      if (columnType === undefined) pseudo[column] = String(value);
      else if (isRepeated) {
        const many = value as readonly unknown[];
        values[column] = many.map((one) => valueOf(columnType, type, one));
      } else values[column] = valueOf(columnType, type, value);
    }
    return { row: checkRow(fields, values), pseudo };
  }

  #decode(bytes: Uint8Array): Readonly<Record<string, unknown>> {
    try {
      return this.#type.decode(bytes) as unknown as Readonly<Record<string, unknown>>;
    } catch (error) {
      throw new ServiceError('invalid', `Could not parse the row: ${String(error)}`);
    }
  }
}

/** The whole request is refused for them. */
export function rowErrors(errors: readonly RowError[]): WriteError {
  return new WriteError(
    status.INVALID_ARGUMENT,
    'Errors found while processing rows. Please refer to the row_errors field for details. The list may not be complete because of the size limitations.',
    { rowErrors: errors },
  );
}

/** What a change by key says. https://cloud.google.com/bigquery/docs/change-data-capture */
function changeOf(row: Row, pseudo: Readonly<Record<string, string>>): KeyedChange {
  const { [changeType]: type, [changeSequence]: sequence } = pseudo;
  if (type !== 'UPSERT' && type !== 'DELETE') {
    throw new ServiceError('invalid', `Invalid ${changeType}: ${type}`, changeType);
  }
  if (sequence === undefined) return { type, row };
  try {
    compareSequences(sequence, sequence);
  } catch (error) {
    throw new ServiceError('invalid', String(error), changeSequence);
  }
  return { type, row, sequence };
}

function valueOf(columnType: FieldType, type: string, value: unknown): unknown {
  if (type === 'int64') {
    const int = BigInt(String(value));
    if (columnType === 'DATETIME' || columnType === 'TIME') return unpackCivil(columnType, int);
    if (columnType === 'DATE') return Number(int);
    return columnType === 'BOOL' ? int !== 0n : int;
  }
  if (type === 'int32' && columnType === 'BOOL') return value !== 0;
  return value;
}

/** The text of a packed civil time, whose parts `checkRow` then checks. */
function unpackCivil(columnType: 'DATETIME' | 'TIME', packed: bigint): string {
  const part = (shift: bigint, bits: bigint, width: number) =>
    String((packed >> shift) & ((1n << bits) - 1n)).padStart(width, '0');
  const clock = `${part(32n, 5n, 2)}:${part(26n, 6n, 2)}:${part(20n, 6n, 2)}.${part(0n, 20n, 6)}`;
  if (columnType === 'TIME') return packed >> 37n === 0n ? clock : `${packed}`;
  return `${part(46n, 17n, 4)}-${part(42n, 4n, 2)}-${part(37n, 5n, 2)} ${clock}`;
}
