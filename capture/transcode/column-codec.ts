import { avroDefault, defaultText } from '../../schemas/column-default.ts';
import type { ColumnSchema, LogicalType, RestatedForm } from '../../schemas/table-schema.ts';
import { avroTypeOf } from '../../schemas/type-mapping.ts';
import { AvroOutput } from './avro-output.ts';
import type { ValueWriter } from './outcome.ts';
import { restatedWriter } from './restated-writers.ts';
import { growthOf, valueWriter } from './value-writer.ts';

/** How one column's values become Avro; chosen once per table version. */
export interface ColumnCodec {
  readonly name: string;
  readonly type: LogicalType;
  readonly write: ValueWriter;
  /** Bytes to reserve per byte of text, beside `overheadBytesMax`. */
  readonly growth: number;
  readonly nullable: boolean;
  /** Union branch of a value, as it is written; -1 when the field is no union. */
  readonly valueBranch: number;
  /** What stands for NULL, and for a value that Avro cannot say: null, else the type's zero. */
  readonly nothing: Buffer;
  /** What stands in a key-only image for a column that is not in it: null, else its default or zero. */
  readonly absent: Buffer;
  /** What stands for a TOASTed value that was not sent. */
  readonly unchanged: Buffer;
}

/** Debezium's word for a value that the source did not send. */
const placeholder = Buffer.from('__debezium_unavailable_value');

/** Room for every constant here; the largest is the default of a numeric(1000,1000). */
const constantBytesMax = 4096;

/** Branches 0 and 1 of a union, as Avro writes them. */
const firstBranch = 0;
const secondBranch = 2;

/** The codec of a column of a table's value schema. */
export function columnCodec(column: ColumnSchema): ColumnCodec {
  const { name, type, nullable } = column;
  const write = valueWriter(type);
  const hasDefault = avroDefault(column) !== undefined;
  const valueBranch = nullable ? (hasDefault ? firstBranch : secondBranch) : -1;
  const nothing = nullable ? Buffer.of(hasDefault ? secondBranch : firstBranch) : zeroOf(type);
  const absent = nullable || !hasDefault ? nothing : defaultOf(column, write);
  const unsent = placeholderOf(type);
  const unchanged = unsent === undefined ? nothing : withBranch(valueBranch, unsent);
  return {
    name,
    type,
    write,
    growth: growthOf(type),
    nullable,
    valueBranch,
    nothing,
    absent,
    unchanged,
  };
}

/** The codec of a key column: never null, no default. */
export const keyCodec = (column: ColumnSchema): ColumnCodec =>
  columnCodec({ ...column, nullable: false });

const withBranch = (branch: number, value: Buffer): Buffer =>
  branch === -1 ? value : Buffer.concat([Buffer.of(branch), value]);

function constant(write: (output: AvroOutput) => void): Buffer {
  const output = new AvroOutput();
  output.reserve(constantBytesMax);
  write(output);
  return Buffer.from(output.take());
}

/** Avro's string and bytes. */
const lengthAndBytes = (bytes: Buffer): Buffer =>
  constant((output) => output.writeText({ bytes, start: 0, end: bytes.length }));

function defaultOf(column: ColumnSchema, write: ValueWriter): Buffer {
  const value = avroDefault(column);
  const isPlain = typeof value === 'number' && !/^(date|time|restated)/.test(column.type.kind);
  const text = isPlain ? String(value) : (defaultText(column) ?? '');
  const bytes = Buffer.from(column.type.kind === 'bool' ? text.slice(0, 1) : text);
  return constant((output) => write(output, { bytes, start: 0, end: bytes.length }));
}

/** What Debezium puts where a NULL meets a field that is not nullable and has no default. */
function zeroOf(type: LogicalType): Buffer {
  switch (type.kind) {
    case 'float4':
      return Buffer.alloc(4);
    case 'float8':
      return Buffer.alloc(8);
    case 'numeric':
      return Buffer.of(2, 0);
    case 'numeric-free':
      return Buffer.of(0, 2, 0);
    case 'timestamptz':
      return lengthAndBytes(Buffer.from('1970-01-01T00:00:00Z'));
    case 'restated':
      return zeroOfForm(type.form);
    default:
      // false, 0, "", no bytes, no items: all are one zero byte.
      return Buffer.of(0);
  }
}

function zeroOfForm(form: RestatedForm): Buffer {
  const text = zeroTexts[form];
  if (text === undefined) return Buffer.of(0);
  const bytes = Buffer.from(text);
  return constant((output) => {
    restatedWriter(form)(output, { bytes, start: 0, end: bytes.length });
  });
}

/** Where the zero is more than one zero byte. */
const zeroTexts: Partial<Record<RestatedForm, string>> = {
  hstore: '',
  money: '$0.00',
  point: '(0,0)',
  timetz: '00:00:00+00',
};

/** Debezium's placeholder for a map. */
const placeholderMap = Buffer.from(JSON.stringify({ [String(placeholder)]: String(placeholder) }));

const avroKind = (type: LogicalType): unknown => {
  const schema = avroTypeOf(type);
  return typeof schema === 'string' ? schema : Reflect.get(schema, 'type');
};

/** Debezium's placeholder in the form of the type; undefined where the type cannot hold it. */
function placeholderOf(type: LogicalType): Buffer | undefined {
  if (type.kind === 'array') return arrayPlaceholder(type.element);
  if (type.kind === 'restated' && type.form === 'hstore') return lengthAndBytes(placeholderMap);
  if (type.kind === 'bytea' || avroKind(type) === 'string') return lengthAndBytes(placeholder);
  return undefined;
}

/** Strings: the placeholder as the only item. Whole numbers: its bytes as items. */
function arrayPlaceholder(element: LogicalType): Buffer | undefined {
  const item = avroKind(element);
  const branch = element.kind === 'enum' ? -1 : secondBranch;
  if (item === 'string') return block([withBranch(branch, lengthAndBytes(placeholder))]);
  const isInteger = element.kind === 'int4' || element.kind === 'int8' || element.kind === 'date';
  if (!isInteger) return undefined;
  const integer = (byte: number): Buffer => constant((output) => output.writeInteger(byte));
  return block([...placeholder].map((byte) => withBranch(branch, integer(byte))));
}

const block = (items: readonly Buffer[]): Buffer => {
  const count = constant((output) => output.writeInteger(items.length));
  return Buffer.concat([count, ...items, Buffer.of(0)]);
};
