import type { LogicalType, RestatedForm } from './table-schema.ts';

/** An Avro schema as JSON. https://avro.apache.org/docs/1.11.1/specification/ */
export type AvroSchema = string | readonly AvroSchema[] | { readonly [attribute: string]: unknown };

type Kind = LogicalType['kind'];
type TypeOf<K extends Kind> = Extract<LogicalType, { readonly kind: K }>;

/** How one kind of value looks in each system. */
interface TypeMapping<K extends Kind> {
  /** Built-in PostgreSQL types of this kind: oid and name in pg_catalog. Parameters come from the type modifier. */
  readonly postgres: readonly (readonly [oid: number, name: string])[];
  /** The schema that Debezium 3.6 registers (decimals precise, time adaptive), without null and default. */
  readonly avro: (type: TypeOf<K>) => AvroSchema;
  readonly duckdb: (type: TypeOf<K>) => string;
  /** Whatever BigQuery would round, reorder or refuse is STRING there. */
  readonly bigquery: (type: TypeOf<K>) => string;
}

/** Digits that DuckDB's DECIMAL and BigQuery's BIGNUMERIC surely hold. */
const decimalDigitsMax = 38;

/** Most digits after the point of a PostgreSQL time or timestamp that Debezium still counts in milliseconds. */
export const millisecondDigitsMax = 3;

const named = (
  type: string,
  name: string,
  parameters?: Readonly<Record<string, string>>,
): AvroSchema => ({
  type,
  'connect.version': 1,
  ...(parameters === undefined ? {} : { 'connect.parameters': parameters }),
  'connect.name': name,
});

function decimalAvro(precision: number, scale: number): AvroSchema {
  return {
    type: 'bytes',
    scale,
    precision,
    'connect.version': 1,
    'connect.parameters': { scale: String(scale), 'connect.decimal.precision': String(precision) },
    'connect.name': 'org.apache.kafka.connect.data.Decimal',
    logicalType: 'decimal',
  };
}

const variableScaleDecimal: AvroSchema = {
  type: 'record',
  name: 'VariableScaleDecimal',
  namespace: 'io.debezium.data',
  fields: [
    { name: 'scale', type: 'int' },
    { name: 'value', type: 'bytes' },
  ],
  'connect.doc': 'Variable scaled decimal',
  'connect.version': 1,
  'connect.name': 'io.debezium.data.VariableScaleDecimal',
};

const pointRecord: AvroSchema = {
  type: 'record',
  name: 'Point',
  namespace: 'io.debezium.data.geometry',
  fields: [
    { name: 'x', type: 'double' },
    { name: 'y', type: 'double' },
    { name: 'wkb', type: ['null', 'bytes'], default: null },
    { name: 'srid', type: ['null', 'int'], default: null },
  ],
  'connect.doc': 'Geometry (POINT)',
  'connect.version': 1,
  'connect.name': 'io.debezium.data.geometry.Point',
};

/** Debezium takes money for a decimal of two digits after the point, of any size. */
const moneyDecimal: AvroSchema = {
  type: 'bytes',
  scale: 2,
  precision: 64,
  'connect.version': 1,
  'connect.parameters': { scale: '2' },
  'connect.name': 'org.apache.kafka.connect.data.Decimal',
  logicalType: 'decimal',
};

function restatedAvro(form: RestatedForm, length: number): AvroSchema {
  switch (form) {
    case 'bit':
      return 'boolean';
    case 'bits':
      return named('bytes', 'io.debezium.data.Bits', { length: String(length) });
    case 'hstore':
      return named('string', 'io.debezium.data.Json');
    case 'interval':
      return named('long', 'io.debezium.time.MicroDuration');
    case 'money':
      return moneyDecimal;
    case 'point':
      return pointRecord;
    case 'timetz':
      return named('string', 'io.debezium.time.ZonedTime');
  }
}

/** NUMERIC has 29 digits before and 9 after the point, BIGNUMERIC at least 38 and 38. */
function decimalBigquery(precision: number, scale: number): string {
  const whole = precision - scale;
  if (scale >= 0 && scale <= 9 && whole <= 29) return 'NUMERIC';
  if (scale >= 0 && scale <= decimalDigitsMax && whole <= decimalDigitsMax) return 'BIGNUMERIC';
  return 'STRING';
}

const decimalDuckdb = (precision: number, scale: number): string =>
  precision <= decimalDigitsMax && scale >= 0 && scale <= precision
    ? `DECIMAL(${precision},${scale})`
    : 'VARCHAR';

const always = (text: string) => () => text;

/** The one table of types. Resolvers, encoders and sinks derive from it. */
export const typeMappings: { readonly [K in Kind]: TypeMapping<K> } = {
  bool: {
    postgres: [[16, 'bool']],
    avro: always('boolean'),
    duckdb: always('BOOLEAN'),
    bigquery: always('BOOL'),
  },
  int2: {
    postgres: [[21, 'int2']],
    avro: () => ({ type: 'int', 'connect.type': 'int16' }),
    duckdb: always('SMALLINT'),
    bigquery: always('INT64'),
  },
  int4: {
    postgres: [[23, 'int4']],
    avro: always('int'),
    duckdb: always('INTEGER'),
    bigquery: always('INT64'),
  },
  int8: {
    postgres: [[20, 'int8']],
    avro: always('long'),
    duckdb: always('BIGINT'),
    bigquery: always('INT64'),
  },
  oid: {
    postgres: [[26, 'oid']],
    avro: always('long'),
    duckdb: always('UINTEGER'),
    bigquery: always('INT64'),
  },
  float4: {
    postgres: [[700, 'float4']],
    avro: always('float'),
    duckdb: always('FLOAT'),
    bigquery: always('FLOAT64'),
  },
  float8: {
    postgres: [[701, 'float8']],
    avro: always('double'),
    duckdb: always('DOUBLE'),
    bigquery: always('FLOAT64'),
  },
  numeric: {
    postgres: [[1700, 'numeric']],
    avro: ({ precision, scale }) => decimalAvro(precision, scale),
    duckdb: ({ precision, scale }) => decimalDuckdb(precision, scale),
    bigquery: ({ precision, scale }) => decimalBigquery(precision, scale),
  },
  'numeric-free': {
    // The same PostgreSQL type as `numeric`, but without a type modifier.
    postgres: [],
    avro: () => variableScaleDecimal,
    duckdb: always('VARCHAR'),
    bigquery: always('STRING'),
  },
  text: {
    // citext, an extension without a fixed oid, joins them by name in resolve-type.ts.
    postgres: [
      [25, 'text'],
      [1043, 'varchar'],
      [1042, 'bpchar'],
      [19, 'name'],
      [18, 'char'],
    ],
    avro: always('string'),
    duckdb: always('VARCHAR'),
    bigquery: always('STRING'),
  },
  uuid: {
    postgres: [[2950, 'uuid']],
    avro: () => named('string', 'io.debezium.data.Uuid'),
    duckdb: always('UUID'),
    bigquery: always('STRING'),
  },
  date: {
    postgres: [[1082, 'date']],
    avro: () => named('int', 'io.debezium.time.Date'),
    duckdb: always('DATE'),
    bigquery: always('DATE'),
  },
  time: {
    postgres: [[1083, 'time']],
    avro: ({ precision }) =>
      precision <= millisecondDigitsMax
        ? named('int', 'io.debezium.time.Time')
        : named('long', 'io.debezium.time.MicroTime'),
    duckdb: always('TIME'),
    bigquery: always('TIME'),
  },
  timestamp: {
    postgres: [[1114, 'timestamp']],
    avro: ({ precision }) =>
      precision <= millisecondDigitsMax
        ? named('long', 'io.debezium.time.Timestamp')
        : named('long', 'io.debezium.time.MicroTimestamp'),
    duckdb: always('TIMESTAMP'),
    // Not BigQuery's TIMESTAMP: that would invent a zone.
    bigquery: always('DATETIME'),
  },
  timestamptz: {
    postgres: [[1184, 'timestamptz']],
    avro: () => named('string', 'io.debezium.time.ZonedTimestamp'),
    duckdb: always('TIMESTAMPTZ'),
    bigquery: always('TIMESTAMP'),
  },
  json: {
    postgres: [[114, 'json']],
    avro: () => named('string', 'io.debezium.data.Json'),
    duckdb: always('JSON'),
    // BigQuery's JSON rounds large numbers, drops duplicate keys and loses their order: only a sink's
    // policy (sinks/bigquery/column-policy.ts) makes documents JSON.
    bigquery: always('STRING'),
  },
  jsonb: {
    postgres: [[3802, 'jsonb']],
    avro: () => named('string', 'io.debezium.data.Json'),
    duckdb: always('JSON'),
    bigquery: always('STRING'),
  },
  bytea: {
    postgres: [[17, 'bytea']],
    avro: always('bytes'),
    duckdb: always('BLOB'),
    bigquery: always('BYTES'),
  },
  enum: {
    postgres: [],
    avro: ({ labels }) => named('string', 'io.debezium.data.Enum', { allowed: labels.join(',') }),
    duckdb: always('VARCHAR'),
    bigquery: always('STRING'),
  },
  inet: {
    postgres: [
      [869, 'inet'],
      [650, 'cidr'],
    ],
    avro: always('string'),
    duckdb: always('VARCHAR'),
    bigquery: always('STRING'),
  },
  'named-text': {
    // ltree, an extension without a fixed oid, joins them by name in resolve-type.ts.
    postgres: [
      [142, 'xml'],
      [3614, 'tsvector'],
    ],
    avro: ({ connectName }) => named('string', connectName),
    duckdb: always('VARCHAR'),
    bigquery: always('STRING'),
  },
  restated: {
    // Their parameters and names decide: see resolve-type.ts.
    postgres: [],
    avro: ({ form, length }) => restatedAvro(form, length),
    duckdb: always('VARCHAR'),
    bigquery: always('STRING'),
  },
  array: {
    postgres: [],
    // Debezium makes the items of an enum array not nullable, all others nullable.
    avro: ({ element }) => ({
      type: 'array',
      items: element.kind === 'enum' ? avroTypeOf(element) : ['null', avroTypeOf(element)],
    }),
    duckdb: ({ element }) => `${duckdbTypeOf(element)}[]`,
    // An ARRAY of BigQuery has no NULL elements and is never NULL itself.
    bigquery: always('JSON'),
  },
  other: {
    postgres: [],
    avro: always('string'),
    duckdb: always('VARCHAR'),
    bigquery: always('STRING'),
  },
};

// The compiler cannot see that `type.kind` selects the mapping made for this very type.
const mappingOf = (type: LogicalType): TypeMapping<Kind> =>
  typeMappings[type.kind] as unknown as TypeMapping<Kind>;

/** The Avro schema of a value of this type, without null and default. */
export const avroTypeOf = (type: LogicalType): AvroSchema => mappingOf(type).avro(type);

/** The column type in DuckDB, e.g. "DECIMAL(12,2)", "VARCHAR[]". */
export const duckdbTypeOf = (type: LogicalType): string => mappingOf(type).duckdb(type);

/** The column type in BigQuery, e.g. "BIGNUMERIC". */
export const bigqueryTypeOf = (type: LogicalType): string => mappingOf(type).bigquery(type);
