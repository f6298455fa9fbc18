import { PipelineError } from '../runtime/errors.ts';
import { avroFieldNames } from './avro-names.ts';
import { AvroReader } from './avro-reader.ts';
import {
  attribute,
  type AvroJson,
  definition,
  type NamedSchemas,
  recordFields,
  skipOf,
  typeName,
  type ValueReader,
  valueReader,
} from './avro-value-readers.ts';
import type { Change, RowImage, Value } from './change.ts';
import { tableName, type TableSchema } from './table-schema.ts';

/** What a Debezium envelope says that a Change needs. */
export interface DecodedEnvelope {
  readonly op: Change['op'];
  /** Key columns, the others null; every column under REPLICA IDENTITY FULL; null when not sent. */
  readonly before: RowImage | null;
  readonly after: RowImage | null;
  /** `source.lsn`, `source.txId`. */
  readonly lsn: bigint | null;
  readonly xid: bigint | null;
  /** `source.ts_us`: the commit; the envelope's `ts_us`: capture's clock. Microseconds since 1970. */
  readonly committedAtUs: bigint | null;
  readonly capturedAtUs: bigint | null;
}

/** Decodes one record value. Throws `value-invalid`, with no byte of the row in the message. */
export type EnvelopeDecoder = (value: Buffer) => DecodedEnvelope;

/** 0x00 and the schema id as a big-endian int32. */
const frameBytes = 5;

/** The schema id of a Confluent-framed key or value. Throws `value-invalid` when it is not framed. */
export function frameSchemaId(framed: Buffer): number {
  if (framed.length < frameBytes || framed[0] !== 0) {
    throw new PipelineError('value-invalid', `${framed.length} bytes have no Confluent frame`);
  }
  return framed.readInt32BE(1);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Step = (reader: AvroReader, envelope: Mutable<DecodedEnvelope>) => void;

/**
 * Compiles a decoder for the values that were written with one registered schema (JSON of Debezium's
 * envelope). What no Change needs is skipped, and so is any field that the table version or the
 * envelope does not know; a column that the schema lacks is NULL. Throws `value-invalid` when a column
 * cannot be read from the type that the schema has for it.
 */
export function compileDecoder(schema: object, table: TableSchema): EnvelopeDecoder {
  const named: NamedSchemas = new Map();
  const steps = recordFields(definition(schema, named)).map(({ name, type }) =>
    envelopeStep(name, type, { table, named }),
  );
  const reader = new AvroReader();
  return (value) => {
    reader.reset(value, frameBytes);
    const envelope: Mutable<DecodedEnvelope> = {
      op: 'c',
      before: null,
      after: null,
      lsn: null,
      xid: null,
      committedAtUs: null,
      capturedAtUs: null,
    };
    for (const step of steps) step(reader, envelope);
    const rest = value.length - reader.at;
    if (rest !== 0) {
      throw new PipelineError('value-invalid', `${rest} bytes follow the Avro value`);
    }
    return envelope;
  };
}

/** Decodes one record key. Throws `value-invalid`, with no byte of the key in the message. */
export type KeyDecoder = (key: Buffer) => RowImage;

/** Compiles a decoder for keys that were written with one registered schema: key columns, the others null. */
export function compileKeyDecoder(schema: object, table: TableSchema): KeyDecoder {
  const named: NamedSchemas = new Map();
  const read = rowReader(definition(schema, named), { table, named }, null);
  const reader = new AvroReader();
  return (key) => {
    reader.reset(key, frameBytes);
    const row = read(reader);
    const rest = key.length - reader.at;
    if (rest !== 0) {
      throw new PipelineError('value-invalid', `${rest} bytes follow the Avro key`);
    }
    return row;
  };
}

interface TableContext {
  readonly table: TableSchema;
  readonly named: NamedSchemas;
}

function envelopeStep(name: string, type: AvroJson, context: TableContext): Step {
  switch (name) {
    case 'before': {
      // Without FULL only the key was sent; the rest holds fillers where a column is not nullable.
      const { replicaIdentity, key } = context.table;
      const read = nullableRow(type, context, replicaIdentity === 'full' ? null : key);
      return (reader, envelope) => (envelope.before = read(reader));
    }
    case 'after': {
      const read = nullableRow(type, context, null);
      return (reader, envelope) => (envelope.after = read(reader));
    }
    case 'source':
      return sourceStep(type, context.named);
    case 'op':
      return (reader, envelope) => (envelope.op = readOperation(reader));
    case 'ts_us': {
      const read = nullableLong(type);
      return (reader, envelope) => (envelope.capturedAtUs = read(reader));
    }
    default:
      return skipOf(type, context.named);
  }
}

const operations = new Map<number, Change['op']>(
  (['c', 'r', 'u', 'd', 't'] as const).map((op) => [op.charCodeAt(0), op]),
);

function readOperation(reader: AvroReader): Change['op'] {
  const length = reader.readInt();
  const op = operations.get(reader.readByte());
  if (length !== 1 || op === undefined) {
    throw new PipelineError('value-invalid', 'the op of an envelope is none of c, r, u, d, t');
  }
  return op;
}

/** A long that is mostly the same as the one before, as all of a transaction are: then it is that one. */
function nullableLong(type: AvroJson): (reader: AvroReader) => bigint | null {
  const read = valueReader(type, { kind: 'int8' }, new Map());
  let last: bigint | null = null;
  return (reader) => {
    const value = read(reader);
    if (typeof value !== 'bigint') return null;
    if (value !== last) last = value;
    return last;
  };
}

/** Fields of `source` that a Change needs, and where they go. */
const sourceTargets = { ts_us: 'committedAtUs', txId: 'xid', lsn: 'lsn' } as const;

function sourceStep(type: AvroJson, named: NamedSchemas): Step {
  const steps = recordFields(definition(type, named)).map((field): Step => {
    const target = Reflect.get(sourceTargets, field.name) as keyof typeof targetNames | undefined;
    if (target === undefined) return skipOf(field.type, named);
    const read = nullableLong(field.type);
    return (reader, envelope) => (envelope[target] = read(reader));
  });
  return (reader, envelope) => {
    for (const step of steps) step(reader, envelope);
  };
}

const targetNames = { committedAtUs: 0, xid: 0, lsn: 0 };

/** A row or null. `wanted`: columns to read, the others are null; all when null. */
function nullableRow(
  type: AvroJson,
  context: TableContext,
  wanted: readonly string[] | null,
): (reader: AvroReader) => RowImage | null {
  const branches = Array.isArray(type) ? (type as readonly AvroJson[]) : [type];
  const rows = branches.map((branch) => {
    const found = definition(branch, context.named);
    return typeName(found) === 'null' ? null : rowReader(found, context, wanted);
  });
  if (!Array.isArray(type)) return (reader) => rows[0]?.(reader) ?? null;
  return (reader) => {
    const index = reader.readInt();
    const row = rows[index];
    if (row === undefined) {
      throw new PipelineError('value-invalid', `an Avro union has no branch ${index}`);
    }
    return row === null ? null : row(reader);
  };
}

function rowReader(
  schema: AvroJson,
  { table, named }: TableContext,
  wanted: readonly string[] | null,
): (reader: AvroReader) => RowImage {
  const names = avroFieldNames(table);
  const nulls: readonly Value[] = table.columns.map(() => null);
  const fields = recordFields(schema).map(({ name, type }) => {
    const index = names.indexOf(name);
    const column = table.columns[index];
    if (column === undefined || (wanted !== null && !wanted.includes(column.name))) {
      const skip = skipOf(type, named);
      return { index: -1, read: skip as ValueReader };
    }
    return { index, read: columnReader(type, { table, named }, index) };
  });
  const indices = fields.map((field) => field.index);
  const readers = fields.map((field) => field.read);
  return (reader) => {
    const row = nulls.slice();
    for (let at = 0; at < readers.length; at += 1) {
      const value = (readers[at] as ValueReader)(reader);
      const index = indices[at] as number;
      if (index >= 0) row[index] = value;
    }
    return row;
  };
}

function columnReader(type: AvroJson, { table, named }: TableContext, index: number): ValueReader {
  const column = table.columns[index];
  try {
    return valueReader(type, column?.type ?? { kind: 'other' }, named);
  } catch (cause) {
    const described = JSON.stringify(attribute(type, 'connect.name') ?? typeName(type));
    throw new PipelineError(
      'value-invalid',
      `column ${column?.name} of ${tableName(table)}, ${column?.pgType}, cannot be read from Avro ${described}`,
      { cause },
    );
  }
}
