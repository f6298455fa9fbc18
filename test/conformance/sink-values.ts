import { ExactText, type RowImage, type Value } from '../../schemas/change.ts';
import { cutAfter, formatPosition } from '../../schemas/position.ts';
import type { ColumnSchema, LogicalType } from '../../schemas/table-schema.ts';
import { type History, tableVersion } from './sink-history.ts';

export interface ValueCase {
  readonly title: string;
  readonly column: ColumnSchema;
  readonly values: readonly Value[];
}

const int64Max = 2n ** 63n - 1n;
/** Ends of PostgreSQL's range that a warehouse's own range has as well. */
const yearOneUs = -62_135_596_800_000_000n;
const year9999Us = 253_402_300_799_999_999n;
/** The first moment that PostgreSQL knows: 4714-11-24 BC. */
const postgresMinUs = -210_866_803_200_000_000n;
const exact = (text: string) => new ExactText(text);

const cases: readonly (readonly [LogicalType, string, readonly Value[]])[] = [
  [{ kind: 'bool' }, 'boolean', [true, false]],
  [{ kind: 'int2' }, 'smallint', [-32_768, 32_767, 0]],
  [{ kind: 'int4' }, 'integer', [-2_147_483_648, 2_147_483_647, 0]],
  [{ kind: 'int8' }, 'bigint', [-(2n ** 63n), int64Max, 0n, 2n ** 53n + 1n]],
  [{ kind: 'oid' }, 'oid', [0n, 4_294_967_295n]],
  [{ kind: 'float4' }, 'real', [1.5, -0.25, Infinity, -Infinity, NaN, Math.fround(3.4e38)]],
  [{ kind: 'float8' }, 'double precision', [0.1, 5e-324, Number.MAX_VALUE, NaN, -Infinity]],
  [
    { kind: 'numeric', precision: 12, scale: 2 },
    'numeric(12,2)',
    [0n, 1n, -1n, 999_999_999_999n, -999_999_999_999n, exact('NaN')],
  ],
  [
    { kind: 'numeric', precision: 38, scale: 10 },
    'numeric(38,10)',
    [10n ** 38n - 1n, 1n - 10n ** 38n],
  ],
  [
    { kind: 'numeric', precision: 60, scale: 20 },
    'numeric(60,20)',
    [10n ** 60n - 1n, 5n, -(10n ** 21n)],
  ],
  [{ kind: 'numeric', precision: 3, scale: -2 }, 'numeric(3,-2)', [123n, -1n, 0n]],
  [{ kind: 'numeric', precision: 2, scale: 5 }, 'numeric(2,5)', [12n, -99n, exact('Infinity')]],
  [
    { kind: 'numeric-free' },
    'numeric',
    ['0', '1.50', '-0.000000000000000000000000000001', `1${'0'.repeat(60)}`, exact('NaN')],
  ],
  [
    { kind: 'text' },
    'text',
    ['', 'plain', 'ünïcødé 🐘 "quoted" \\ \n\t', "it's", 'x'.repeat(70_000)],
  ],
  [
    { kind: 'uuid' },
    'uuid',
    ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-4fff-bfff-ffffffffffff'],
  ],
  [{ kind: 'date' }, 'date', [0, -719_162, 2_932_896, exact('infinity'), exact('0044-03-15 BC')]],
  [
    { kind: 'time', precision: 6 },
    'time without time zone',
    [0n, 86_399_999_999n, exact('24:00:00')],
  ],
  [{ kind: 'time', precision: 3 }, 'time(3) without time zone', [1000n]],
  [
    { kind: 'timestamp', precision: 6 },
    'timestamp without time zone',
    [0n, yearOneUs, year9999Us, postgresMinUs, exact('infinity'), exact('294276-12-31 23:59:59')],
  ],
  [
    { kind: 'timestamptz', precision: 6 },
    'timestamp with time zone',
    [0n, 1_700_000_000_123_456n, yearOneUs, year9999Us, postgresMinUs, exact('-infinity')],
  ],
  [
    { kind: 'json' },
    'json',
    ['{"a" : 1,  "a":2}', 'null', '"text"', '[1.0, 1e400]', '{"b":1,"a":[]}', '"\\ud800"'],
  ],
  [
    { kind: 'jsonb' },
    'jsonb',
    [
      '{"a": 1.00, "ü": [null, true]}',
      'null',
      '12345678901234567890.5',
      '{"a": -1.5, "bb": [18446744073709551615, 18446744073709551616]}',
      '{"b": {"c": "\\"\\n"}, "aa": {}}',
    ],
  ],
  [{ kind: 'bytea' }, 'bytea', [new Uint8Array(), new Uint8Array([0, 1, 127, 128, 255])]],
  [{ kind: 'enum', labels: ['sad', 'ok'] }, 'mood', ['sad', 'ok', 'added later']],
  [{ kind: 'named-text', connectName: 'io.debezium.data.Ltree' }, 'ltree', ['a.b.c', '']],
  [{ kind: 'inet' }, 'inet', ['192.168.0.1/24', '::1']],
  [
    { kind: 'restated', form: 'interval', length: 0 },
    'interval',
    ['1 year 2 mons -3 days', '-00:00:00.000001'],
  ],
  [{ kind: 'other' }, 'circle', ['<(1,2),3>']],
  [
    { kind: 'array', element: { kind: 'int4' } },
    'integer[]',
    [[], [1, null, -2_147_483_648], exact('{{1,2},{3,4}}'), exact('[0:1]={7,8}')],
  ],
  [{ kind: 'array', element: { kind: 'int8' } }, 'bigint[]', [[int64Max, null]]],
  [
    { kind: 'array', element: { kind: 'text' } },
    'text[]',
    [[''], ['a,b', '"q"', null, 'NULL', '\\', '{}'], [null]],
  ],
  [
    { kind: 'array', element: { kind: 'numeric', precision: 10, scale: 2 } },
    'numeric(10,2)[]',
    [[0n, null, -12_345n]],
  ],
  [
    { kind: 'array', element: { kind: 'timestamptz', precision: 6 } },
    'timestamp with time zone[]',
    [[0n, null, 1_700_000_000_123_456n]],
  ],
  [{ kind: 'array', element: { kind: 'bool' } }, 'boolean[]', [[true, null, false]]],
  [{ kind: 'array', element: { kind: 'date' } }, 'date[]', [[0, null, -719_162]]],
  [
    { kind: 'array', element: { kind: 'uuid' } },
    'uuid[]',
    [['00000000-0000-0000-0000-000000000000', null]],
  ],
  [{ kind: 'array', element: { kind: 'bytea' } }, 'bytea[]', [[new Uint8Array([0, 255]), null]]],
];

/** Every kind of value with its extremes, exact texts beyond the range, and NULL. */
export const valueCases: readonly ValueCase[] = cases.map(([type, pgType, values]) => ({
  title: pgType,
  column: { name: 'value', type, pgType, nullable: true },
  values: [...values, null],
}));

/** All the values in one table, one a transaction; then each row is moved on to the next value. */
export function valueHistory(column: ColumnSchema, values: readonly Value[]): History {
  const id: ColumnSchema = {
    name: 'id',
    type: { kind: 'int4' },
    pgType: 'integer',
    nullable: false,
  };
  const spec = { name: 'typed', id: 50, key: ['id'], columns: [id, column] };
  const version = tableVersion(
    spec,
    formatPosition({ generation: 1, commitLsn: 1n, ordinal: 0, part: 0 }),
  );
  const rows: RowImage[] = [];
  const images = [...values, ...values.slice(1)].map((value, index): RowImage => [
    index % values.length,
    value,
  ]);
  const changes = images.map((after, index) => {
    rows[index % values.length] = after;
    return {
      op: index < values.length ? ('c' as const) : ('u' as const),
      seq: formatPosition({ generation: 1, commitLsn: 100n, ordinal: index + 1, part: 0 }),
      lsn: BigInt(index),
      xid: index === 0 ? null : 4_294_967_295n,
      committedAtUs: index === 0 ? null : 1_700_000_000_000_001n,
      capturedAtUs: 1_700_000_000_000_002n,
      topic: version.topic,
      partition: 0,
      offset: index,
      version,
      after,
      before: null,
      unchanged: [],
    };
  });
  const cut = { cut: cutAfter(1, 100n), lsn: 200n, versions: [version] };
  return { changes, cuts: [{ ...cut, rows: new Map([['typed', rows]]) }] };
}
