import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AvroOutput } from '../../capture/transcode/avro-output.ts';
import { valueWriter } from '../../capture/transcode/value-writer.ts';
import { avroTypeOf } from '../../schemas/type-mapping.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { oracleType } from '../support/avro-oracle.ts';
import { startTestPostgres, type TestPostgres } from '../support/postgres.ts';

// PostgreSQL itself writes random values twice: as text, which goes through the transcoder, and in
// another form that says what they are.

const database = 'values';
const session = /* sql */ `set timezone = 'UTC'; set datestyle = 'ISO'; set extra_float_digits = 3;`;
let server: TestPostgres;

beforeAll(async () => {
  server = await startTestPostgres();
  await server.createDatabase(database);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

interface Row {
  readonly text: string;
  readonly truth: string;
}

async function rows(sql: string): Promise<readonly Row[]> {
  const results: unknown = await server.run(database, session + sql);
  const last: unknown = Array.isArray(results) ? results.at(-1) : results;
  return (last as { rows: Row[] }).rows;
}

/** A writer and avsc's reader of one type. */
function decoderOf(type: LogicalType): (text: string) => unknown {
  const output = new AvroOutput();
  const write = valueWriter(type);
  const avro = oracleType(avroTypeOf(type));
  return (text) => {
    const bytes = Buffer.from(text);
    output.begin();
    output.reserve(5 * bytes.length + 128);
    write(output, { bytes, start: 0, end: bytes.length });
    return avro.fromBuffer(Buffer.from(output.take()));
  };
}

const unionOfStrings = (items: unknown): string =>
  JSON.stringify((items as ({ string: string } | null)[]).map((item) => item?.string ?? null));

function hex(value: unknown, bytes: 4 | 8): string {
  const buffer = Buffer.alloc(bytes);
  if (typeof value === 'bigint') buffer.writeBigInt64BE(value);
  else if (bytes === 4) buffer.writeFloatBE(Number(value));
  else buffer.writeDoubleBE(Number(value));
  return buffer.toString('hex');
}

interface Kind {
  readonly type: LogicalType;
  readonly sql: string;
  readonly shown: (value: unknown) => string;
}

const kinds: readonly Kind[] = [
  {
    type: { kind: 'date' },
    sql: /* sql */ `select d::text as text, (d - date '1970-01-01')::text as truth
      from (select date '4713-01-02 BC' + (random() * 2147480000)::int as d from generate_series(1, 2000)) s`,
    shown: String,
  },
  {
    type: { kind: 'timestamp', precision: 6 },
    sql: /* sql */ `select d::text as text, (extract(epoch from d) * 1000000)::bigint::text as truth
      from (select timestamp '4713-01-02 BC' + random() * 298000 * 365 * interval '1 day' as d
      from generate_series(1, 2000)) s`,
    shown: String,
  },
  {
    type: { kind: 'timestamptz', precision: 6 },
    sql: /* sql */ `select d::text as text, to_char(d, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as truth
      from (select timestamptz 'epoch' + ((random() - 0.3) * 4e15)::bigint * interval '1 us' as d
      from generate_series(1, 2000)) s`,
    shown: String,
  },
  {
    type: { kind: 'float4' },
    sql: /* sql */ `select f::text as text, encode(float4send(f), 'hex') as truth
      from (select ((random() - 0.5) * 10 ^ (random() * 70 - 35))::float4 as f from generate_series(1, 5000)) s`,
    shown: (value) => hex(value, 4),
  },
  {
    type: { kind: 'float8' },
    sql: /* sql */ `select f::text as text, encode(float8send(f), 'hex') as truth from (select
      case when i % 2 = 0 then (random() - 0.5) * 10 ^ (random() * 600 - 300)
      else round((random() * 1e6)::numeric, (random() * 6)::int)::float8 end as f
      from generate_series(1, 5000) i) s`,
    shown: (value) => hex(value, 8),
  },
  {
    type: { kind: 'int8' },
    sql: /* sql */ `select i::text as text, encode(int8send(i), 'hex') as truth from (select
      ((random() - 0.5) * 1.84e19 * 10 ^ (-random() * 18))::int8 as i from generate_series(1, 5000)) s`,
    shown: (value) => hex(value, 8),
  },
  {
    type: { kind: 'array', element: { kind: 'text' } },
    sql: /* sql */ `select a::text as text, array_to_json(a)::text as truth from (select array(
      select case when random() < 0.2 then null else (array['a b', '"q"', 'x\\y', '', 'NULL', 'null', '{}',
      e'\\n', 'é,☃', 'plain', ' lead', 'trail '])[1 + floor(random() * 12)::int] end
      from generate_series(0, g % 7)) as a from generate_series(1, 2000) g) s`,
    shown: unionOfStrings,
  },
];

describe('values as PostgreSQL writes them', () => {
  it.each(kinds.map((kind) => [kind.type.kind, kind] as const))(
    '%s come through',
    async (_name, kind) => {
      const decode = decoderOf(kind.type);
      const found = await rows(kind.sql);
      expect(found.length).toBeGreaterThan(1000);
      const wrong = found.filter(({ text, truth }) => kind.shown(decode(text)) !== truth);
      expect(wrong).toEqual([]);
    },
  );
});
