import { PipelineError } from '../runtime/errors.ts';
import { type AvroReader, readUnscaled, RecentTexts } from './avro-reader.ts';
import { ExactText, type Value } from './change.ts';
import { decimalText } from './pg-text.ts';
import type { LogicalType } from './table-schema.ts';
import { zonedTimestampUs } from './zoned-timestamp.ts';

export type ValueReader = (reader: AvroReader) => Value;
export type Skip = (reader: AvroReader) => void;

/** A schema as JSON.parse gives it. */
export type AvroJson = unknown;

/** Named records met so far, by short and full name: a later use gives only the name. */
export type NamedSchemas = Map<string, AvroJson>;

/** The attribute of a schema object; undefined where it has none. */
export function attribute(schema: AvroJson, name: string): unknown {
  return typeof schema === 'object' && schema !== null ? Reflect.get(schema, name) : undefined;
}

/** "long", "record", "array" ...: the type of a schema that is no union. */
export function typeName(schema: AvroJson): string {
  if (typeof schema === 'string') return schema;
  const type = attribute(schema, 'type');
  return typeof type === 'string' ? type : typeName(type ?? 'null');
}

/** Finds the definition when a schema is only a name; remembers records as it meets them. */
export function definition(schema: AvroJson, named: NamedSchemas): AvroJson {
  if (typeof schema === 'string') return named.get(schema) ?? schema;
  const name = attribute(schema, 'name');
  if (typeof name === 'string') {
    const namespace = attribute(schema, 'namespace');
    named.set(name, schema);
    if (typeof namespace === 'string') named.set(`${namespace}.${name}`, schema);
    const full = attribute(schema, 'connect.name');
    if (typeof full === 'string') named.set(full, schema);
  }
  return schema;
}

/** Reads a value of a column as its LogicalType says, null where the writer's union allows it. */
export function valueReader(schema: AvroJson, type: LogicalType, named: NamedSchemas): ValueReader {
  if (!Array.isArray(schema)) return plainReader(definition(schema, named), type, named);
  const branches = (schema as readonly AvroJson[]).map((branch) =>
    typeName(branch) === 'null' ? null : valueReader(branch, type, named),
  );
  const [first, second] = branches;
  if (branches.length === 2 && first === null && second) {
    return (reader) => {
      const branch = reader.readInt();
      if (branch === 1) return second(reader);
      return branch === 0 ? null : refuseBranch(branch);
    };
  }
  return (reader) => {
    const index = reader.readInt();
    const branch = branches[index];
    return branch === undefined ? refuseBranch(index) : (branch?.(reader) ?? null);
  };
}

function refuseBranch(branch: number): never {
  throw new PipelineError('value-invalid', `an Avro union has no branch ${branch}`);
}

/** What is read of a value that Debezium restated: what it is says the header beside it. */
export const restated = new ExactText('');

function plainReader(schema: AvroJson, type: LogicalType, named: NamedSchemas): ValueReader {
  if (type.kind === 'restated') {
    const skip = skipOf(schema, named);
    return (reader) => {
      skip(reader);
      return restated;
    };
  }
  const avro = typeName(schema);
  const reader = readerOf(avro, { schema, type, named });
  if (reader !== undefined) return reader;
  throw new PipelineError('value-invalid', `Avro ${avro} cannot be read as ${type.kind}`, {
    hint: 'the table version and the registered schema do not belong together',
  });
}

interface ReaderContext {
  readonly schema: AvroJson;
  readonly type: LogicalType;
  readonly named: NamedSchemas;
}

function readerOf(avro: string, context: ReaderContext): ValueReader | undefined {
  const { type } = context;
  switch (avro) {
    case 'boolean':
      return type.kind === 'bool' ? (reader) => reader.readBoolean() : undefined;
    case 'int':
      return intReader(type);
    case 'long':
      return longReader(type, attribute(context.schema, 'connect.name'));
    case 'float':
      return isFloat(type) ? (reader) => reader.readFloat() : undefined;
    case 'double':
      return isFloat(type) ? (reader) => reader.readDouble() : undefined;
    case 'string':
      return stringReader(type);
    case 'bytes':
      return bytesReader(type, attribute(context.schema, 'scale'));
    case 'record':
      return attribute(context.schema, 'name') === 'VariableScaleDecimal'
        ? variableScaleReader(type)
        : undefined;
    case 'array':
      return arrayReader(context);
    default:
      return undefined;
  }
}

const isFloat = ({ kind }: LogicalType) => kind === 'float4' || kind === 'float8';

function intReader({ kind }: LogicalType): ValueReader | undefined {
  switch (kind) {
    case 'int2':
    case 'int4':
    case 'date':
      return (reader) => reader.readInt();
    case 'int8':
    case 'oid':
      return (reader) => BigInt(reader.readInt());
    case 'time':
      // io.debezium.time.Time: milliseconds of the day.
      return (reader) => BigInt(1000 * reader.readInt());
    default:
      return undefined;
  }
}

function longReader({ kind }: LogicalType, semantics: unknown): ValueReader | undefined {
  switch (kind) {
    case 'int8':
    case 'oid':
    case 'time':
      return (reader) => reader.readLong();
    case 'timestamp':
      return semantics === 'io.debezium.time.Timestamp'
        ? (reader) => 1000n * reader.readLong()
        : (reader) => reader.readLong();
    default:
      return undefined;
  }
}

function stringReader({ kind }: LogicalType): ValueReader | undefined {
  switch (kind) {
    case 'timestamptz':
      return (reader) => {
        const length = reader.readInt();
        const start = reader.advance(length);
        const end = start + length;
        const micros = zonedTimestampUs(reader.bytes, start, end);
        return micros ?? new ExactText(reader.bytes.toString('utf8', start, end));
      };
    case 'text':
    case 'uuid':
    case 'json':
    case 'jsonb':
    case 'enum':
    case 'inet':
    case 'named-text':
    case 'other': {
      const recent = new RecentTexts();
      return (reader) => reader.readString(recent);
    }
    default:
      return undefined;
  }
}

function bytesReader(type: LogicalType, scale: unknown): ValueReader | undefined {
  if (type.kind === 'bytea') return (reader) => reader.readBytes();
  if (type.kind !== 'numeric' || (scale ?? 0) !== type.scale) return undefined;
  return (reader) => {
    const length = reader.readInt();
    return readUnscaled(reader.bytes, reader.advance(length), length);
  };
}

/** io.debezium.data.VariableScaleDecimal {scale int, value bytes} → PostgreSQL's text. */
function variableScaleReader({ kind }: LogicalType): ValueReader | undefined {
  if (kind !== 'numeric-free') return undefined;
  return (reader) => {
    const scale = reader.readInt();
    if (Math.abs(scale) > numericDigitsMax) {
      throw new PipelineError('value-invalid', `a decimal has the scale ${scale}`);
    }
    const length = reader.readInt();
    return decimalText(readUnscaled(reader.bytes, reader.advance(length), length), scale);
  };
}

/** PostgreSQL's numeric has up to 131,072 digits before and 16,383 after the point. */
const numericDigitsMax = 131_072;

/** More elements than a record can hold would be a corrupt length: each takes a byte, but for nulls. */
function arrayReader({ schema, type, named }: ReaderContext): ValueReader | undefined {
  if (type.kind !== 'array') return undefined;
  const item = valueReader(attribute(schema, 'items'), type.element, named);
  return (reader) => {
    const values: Value[] = [];
    readBlocks(reader, () => values.push(item(reader)));
    return values;
  };
}

/** Blocks of an array: a count (negative: then its size in bytes follows), the items; 0 ends it. */
function readBlocks(reader: AvroReader, onItem: () => void): void {
  for (let count = reader.readInt(); count !== 0; count = reader.readInt()) {
    if (count < 0) reader.skipVarint();
    const items = Math.abs(count);
    if (items > reader.bytes.length - reader.at) throw reader.cutShort();
    for (let index = 0; index < items; index += 1) onItem();
  }
}

/** Moves past a value of any schema. */
export function skipOf(schema: AvroJson, named: NamedSchemas): Skip {
  if (Array.isArray(schema)) return skipUnion(schema, named);
  const found = definition(schema, named);
  const avro = typeName(found);
  switch (avro) {
    case 'null':
      return () => {};
    case 'boolean':
      return (reader) => void reader.advance(1);
    case 'int':
    case 'long':
    case 'enum':
      return (reader) => reader.skipVarint();
    case 'float':
      return (reader) => void reader.advance(4);
    case 'double':
      return (reader) => void reader.advance(8);
    case 'string':
    case 'bytes':
      return (reader) => reader.skipSized();
    case 'fixed': {
      const size = Number(attribute(found, 'size'));
      return (reader) => void reader.advance(size);
    }
    case 'array': {
      const skip = skipOf(attribute(found, 'items'), named);
      return (reader) => readBlocks(reader, () => skip(reader));
    }
    case 'map': {
      const skip = skipOf(attribute(found, 'values'), named);
      return (reader) =>
        readBlocks(reader, () => {
          reader.skipSized();
          skip(reader);
        });
    }
    case 'record': {
      const skips = recordFields(found).map((field) => skipOf(field.type, named));
      return (reader) => {
        for (const skip of skips) skip(reader);
      };
    }
    default:
      throw new PipelineError('value-invalid', `Avro type ${avro} is not defined in the schema`);
  }
}

function skipUnion(schema: readonly AvroJson[], named: NamedSchemas): Skip {
  const skips = schema.map((branch) => skipOf(branch, named));
  return (reader) => {
    const branch = reader.readInt();
    const skip = skips[branch];
    if (skip === undefined) refuseBranch(branch);
    skip(reader);
  };
}

/** Fields of a record schema in the order in which they are encoded. */
export function recordFields(schema: AvroJson): readonly { name: string; type: AvroJson }[] {
  const fields = attribute(schema, 'fields');
  if (!Array.isArray(fields)) {
    throw new PipelineError('value-invalid', 'an Avro record schema has no list of fields');
  }
  return fields.map((field: unknown) => {
    return { name: String(attribute(field, 'name')), type: attribute(field, 'type') };
  });
}
