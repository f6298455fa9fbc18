import { describe, expect, it } from 'vitest';
import { avroDefault, type AvroDefault } from './column-default.ts';
import type { LogicalType } from './table-schema.ts';

const numeric: LogicalType = { kind: 'numeric', precision: 6, scale: 2 };
const timestamptz = 'timestamp with time zone';

type Case = readonly [
  pgType: string,
  type: LogicalType,
  expression: string,
  expected: AvroDefault | undefined,
];

const cases: readonly Case[] = [
  ['integer', { kind: 'int4' }, '7', 7],
  ['integer', { kind: 'int4' }, "'-5'::integer", -5],
  ['integer', { kind: 'int4' }, "nextval('t_id_seq'::regclass)", 0],
  ['integer', { kind: 'int4' }, '(1 + 2)', undefined],
  ['bigint', { kind: 'int8' }, "'9223372036854775807'::bigint", { rawJSON: '9223372036854775807' }],
  ['double precision', { kind: 'float8' }, "'-0.5'::numeric", -0.5],
  ['boolean', { kind: 'bool' }, 'false', false],
  ['numeric(6,2)', numeric, '0', '\0'],
  ['numeric(6,2)', numeric, "'-1.5'::numeric", 'ÿj'],
  ['character varying(9)', { kind: 'text' }, "'it''s'::character varying", "it's"],
  ['text', { kind: 'text' }, "E'a\\\\b'::text", 'a\\b'],
  ['text', { kind: 'text' }, 'NULL::text', undefined],
  ['text', { kind: 'text' }, 'lower(CURRENT_USER)', ''],
  ['text', { kind: 'text' }, 'CURRENT_USER', undefined],
  ['text', { kind: 'text' }, "('a'::text || 'b'::text)", undefined],
  ['citext', { kind: 'text' }, "'a'::citext", undefined],
  ['short_text', { kind: 'text' }, "'a'::text", undefined],
  ['uuid', { kind: 'uuid' }, 'gen_random_uuid()', '00000000-0000-0000-0000-000000000000'],
  ['date', { kind: 'date' }, "'1969-12-31'::date", -1],
  ['date', { kind: 'date' }, "'infinity'::date", undefined],
  [
    'time without time zone',
    { kind: 'time', precision: 6 },
    "'00:00:01.5'::time without time zone",
    1_500_000,
  ],
  [
    'timestamp(3) without time zone',
    { kind: 'timestamp', precision: 3 },
    "'1970-01-01 00:00:01'::timestamp without time zone",
    1000,
  ],
  [timestamptz, { kind: 'timestamptz', precision: 6 }, 'CURRENT_TIMESTAMP', undefined],
  [
    timestamptz,
    { kind: 'timestamptz', precision: 0 },
    "'2020-01-02 03:04:05+00'::timestamp with time zone",
    '2020-01-02T03:04:05Z',
  ],
  [
    timestamptz,
    { kind: 'timestamptz', precision: 6 },
    "'2020-01-02 03:04:05+02'::timestamp with time zone",
    undefined,
  ],
  ['jsonb', { kind: 'jsonb' }, `'{"a": "''"}'::jsonb`, `{"a": "'"}`],
  ['mood', { kind: 'enum', labels: ['ok'] }, "'ok'::mood", 'ok'],
  ['bytea', { kind: 'bytea' }, "'\\x00'::bytea", undefined],
  ['text[]', { kind: 'array', element: { kind: 'text' } }, "'{}'::text[]", undefined],
  [
    'interval',
    { kind: 'restated', form: 'interval', length: 0 },
    "'01:00:00'::interval",
    3_600_000_000,
  ],
  ['bit(1)', { kind: 'restated', form: 'bit', length: 0 }, `B'1'::"bit"`, true],
  [
    'time with time zone',
    { kind: 'restated', form: 'timetz', length: 0 },
    "'10:00:00+02'::time with time zone",
    undefined,
  ],
];

describe('the default in a schema', () => {
  it.each(cases.map((one) => [`${one[0]} default ${one[2]}`, one] as const))(
    'of %s',
    (_title, one) => {
      const [pgType, type, defaultExpression, expected] = one;
      const column = { name: 'c', type, pgType, nullable: true, defaultExpression };
      expect(avroDefault(column)).toEqual(expected);
    },
  );

  it('is none without an expression', () => {
    const column = {
      name: 'c',
      type: { kind: 'int4' },
      pgType: 'integer',
      nullable: true,
    } as const;
    expect(avroDefault(column)).toBeUndefined();
  });
});

it('a default beyond 2^53 stands in the schema as it is', () => {
  const column = {
    name: 'c',
    type: { kind: 'int8' },
    pgType: 'bigint',
    nullable: true,
    defaultExpression: "'-9223372036854775808'::bigint",
  } as const;
  expect(JSON.stringify(avroDefault(column))).toBe('-9223372036854775808');
});
