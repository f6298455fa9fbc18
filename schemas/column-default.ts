import { intervalMicros } from './restated-text.ts';
import type { ColumnSchema, LogicalType, RestatedForm } from './table-schema.ts';

/** A default as it stands in an Avro schema. */
export type AvroDefault = string | number | boolean | RawNumber;

/** A number beyond 2^53, which `JSON.stringify` writes as it stands. https://tc39.es/proposal-json-parse-with-source/ */
export interface RawNumber {
  readonly rawJSON: string;
}

const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => RawNumber };

/**
 * How `format_type` begins for the types whose defaults Debezium understands. Domains and the rest
 * (bytea, arrays, citext, inet ...) have none in the schema.
 */
const typesWithDefault: Partial<Record<LogicalType['kind'], RegExp>> = {
  bool: /^boolean/,
  int2: /^smallint/,
  int4: /^integer/,
  int8: /^bigint/,
  float4: /^real/,
  float8: /^double precision/,
  numeric: /^numeric/,
  text: /^(text|character varying|character)(\(|$)/,
  uuid: /^uuid/,
  date: /^date/,
  time: /^time(\(\d\))? without/,
  timestamp: /^timestamp(\(\d\))? without/,
  timestamptz: /^timestamp(\(\d\))? with /,
  json: /^json/,
  jsonb: /^jsonb/,
  enum: /./,
  'named-text': /^xml/,
  restated: /^(interval|bit\(1\))/,
};

/** What stands in the schema for a default that a function computes: nextval, now, gen_random_uuid ... */
const generatedText: Partial<Record<LogicalType['kind'], string>> = {
  bool: 'false',
  text: '',
  uuid: '00000000-0000-0000-0000-000000000000',
  date: '1970-01-01',
  time: '00:00:00',
  timestamp: '1970-01-01 00:00:00',
  timestamptz: '1970-01-01 00:00:00+00',
  json: '{}',
  jsonb: '{}',
};

const functionCall = /^\(?[A-Za-z0-9_.]+\(.*\)/s;
const plainConstant = /^(true|false|-?[0-9.]+(e[+-]?[0-9]+)?)$/i;
const quotedConstant = /^([EB]?)'((?:[^']|'')*)'::[^']*$/s;

/**
 * PostgreSQL's text of the default that Debezium puts into a column's schema; undefined when it puts
 * none. A function's result cannot be known, so a fixed value of the type stands for it: that decides
 * the order of the union and thereby the bytes of every value, so it may not be left out.
 */
export function defaultText(column: ColumnSchema): string | undefined {
  const { defaultExpression: expression, type } = column;
  if (expression === undefined) return undefined;
  if (typesWithDefault[type.kind]?.test(column.pgType) !== true) return undefined;
  if (functionCall.test(expression) && type.kind !== 'restated')
    return type.kind === 'enum' ? undefined : (generatedText[type.kind] ?? '0');
  if (plainConstant.test(expression)) return expression;
  const quoted = quotedConstant.exec(expression);
  if (quoted === null) return undefined;
  const text = (quoted[2] ?? '').replaceAll("''", "'");
  return quoted[1] === 'E' ? text.replaceAll('\\\\', '\\') : text;
}

/** The default of a column as its Avro schema says it; undefined when it has none. */
export function avroDefault(column: ColumnSchema): AvroDefault | undefined {
  const text = defaultText(column);
  return text === undefined ? undefined : fromText(column.type, text);
}

function fromText(type: LogicalType, text: string): AvroDefault | undefined {
  if (type.kind === 'numeric') return decimalBytes(text, type.scale);
  if (type.kind === 'time') return timeDefault(`1970-01-01 ${text}`, type.precision);
  if (type.kind === 'timestamp') return timeDefault(text, type.precision);
  if (type.kind === 'timestamptz') return zonedDefault(text, type.precision);
  if (type.kind === 'restated') return restatedDefault(type.form, text);
  const convert = converters[type.kind];
  return convert === undefined ? text : convert(text);
}

function restatedDefault(form: RestatedForm, text: string): AvroDefault | undefined {
  if (form === 'bit') return text === '1';
  const micros = form === 'interval' ? intervalMicros(text) : null;
  return micros === null ? undefined : anyInteger(String(micros));
}

/** Kinds that are no strings in Avro and have no parameters. */
const converters: Partial<Record<LogicalType['kind'], (text: string) => AvroDefault | undefined>> =
  {
    bool: (text) => text === 'true' || text === 't',
    int2: safeInteger,
    int4: safeInteger,
    int8: anyInteger,
    float4: (text) => finite(Number(text)),
    float8: (text) => finite(Number(text)),
    date: (text) => finite(Date.parse(`${text}T00:00:00Z`) / dayMs),
  };

const dayMs = 86_400_000;

const finite = (value: number): number | undefined => (Number.isFinite(value) ? value : undefined);

function safeInteger(text: string): number | undefined {
  return Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
}

function anyInteger(text: string): number | RawNumber | undefined {
  return safeInteger(text) ?? (/^-?\d+$/.test(text) ? rawJSON(text) : undefined);
}

/** Bytes in an Avro default are a string of the characters U+0000 to U+00FF. */
function decimalBytes(text: string, scale: number): string | undefined {
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text);
  const fraction = match?.[3] ?? '';
  if (match === null || scale < 0 || fraction.length > scale) return undefined;
  const unscaled = BigInt(`${match[1]}${match[2]}${fraction.padEnd(scale, '0')}`);
  let length = 1;
  while (BigInt.asIntN(8 * length, unscaled) !== unscaled) length += 1;
  const hex = BigInt.asUintN(8 * length, unscaled)
    .toString(16)
    .padStart(2 * length, '0');
  return Buffer.from(hex, 'hex').toString('latin1');
}

/** "2020-01-02 03:04:05.678901" → milliseconds up to 3 digits of precision, else microseconds. */
function timeDefault(text: string, precision: number): number | undefined {
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?$/.exec(text);
  if (match === null) return undefined;
  const fraction = Number((match[3] ?? '').padEnd(6, '0'));
  const micros = Date.parse(`${match[1]}T${match[2]}Z`) * 1000 + fraction;
  return finite(precision <= 3 ? Math.floor(micros / 1000) : micros);
}

function zonedDefault(text: string, precision: number): string | undefined {
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/.exec(text);
  if (match === null) return undefined;
  const fraction = (match[3] ?? '').padEnd(6, '0').slice(0, precision);
  return `${match[1]}T${match[2]}${fraction === '' ? '' : `.${fraction}`}Z`;
}
