import { describe, expect, it } from 'vitest';
import { goldenTypes } from '../test/support/debezium-golden.ts';
import type { CatalogType } from './catalog.ts';
import { resolveType } from './resolve-type.ts';
import { bigqueryTypeOf, duckdbTypeOf } from './type-mapping.ts';

const base = { schema: 'public', category: 'U', elementOid: 0, baseOid: 0, baseTypeModifier: -1 };
const extra: readonly CatalogType[] = [
  {
    ...base,
    oid: 90001,
    name: 'price',
    kind: 'd',
    baseOid: 1700,
    baseTypeModifier: 786438,
    enumLabels: [],
  },
  {
    ...base,
    oid: 90002,
    name: '_price',
    kind: 'b',
    category: 'A',
    elementOid: 90001,
    enumLabels: [],
  },
  { ...base, oid: 90003, name: 'tags', kind: 'd', baseOid: 1009, enumLabels: [] },
  { ...base, oid: 1020, name: '_box', kind: 'b', category: 'A', elementOid: 603, enumLabels: [] },
  {
    ...base,
    oid: 1187,
    name: '_interval',
    kind: 'b',
    category: 'A',
    elementOid: 1186,
    enumLabels: [],
  },
  { ...base, oid: 90004, name: 'pair', kind: 'c', category: 'C', enumLabels: [] },
  {
    ...base,
    oid: 22,
    name: 'int2vector',
    kind: 'b',
    category: 'A',
    elementOid: 21,
    enumLabels: [],
  },
];
const types = new Map([...goldenTypes, ...extra.map((type) => [type.oid, type] as const)]);

const numericTypmod = (precision: number, scale: number): number =>
  ((precision << 16) | (scale & 0x7ff)) + 4;

describe('what a column is', () => {
  it.each([
    ['boolean', 16, -1, { kind: 'bool' }],
    ['varchar(40)', 1043, 44, { kind: 'text' }],
    ['char(5)', 1042, 9, { kind: 'text' }],
    ['name', 19, -1, { kind: 'text' }],
    ['citext', 19610, -1, { kind: 'text' }],
    ['numeric', 1700, -1, { kind: 'numeric-free' }],
    ['numeric(12,2)', 1700, numericTypmod(12, 2), { kind: 'numeric', precision: 12, scale: 2 }],
    ['numeric(3,-2)', 1700, numericTypmod(3, -2), { kind: 'numeric', precision: 3, scale: -2 }],
    ['numeric(2,5)', 1700, numericTypmod(2, 5), { kind: 'numeric', precision: 2, scale: 5 }],
    [
      'numeric(1000,1000)',
      1700,
      numericTypmod(1000, 1000),
      { kind: 'numeric', precision: 1000, scale: 1000 },
    ],
    ['timestamp', 1114, -1, { kind: 'timestamp', precision: 6 }],
    ['timestamp(0)', 1114, 0, { kind: 'timestamp', precision: 0 }],
    ['timestamptz(3)', 1184, 3, { kind: 'timestamptz', precision: 3 }],
    ['cidr', 650, -1, { kind: 'inet' }],
    ['xml', 142, -1, { kind: 'named-text', connectName: 'io.debezium.data.Xml' }],
    ['tsvector', 3614, -1, { kind: 'named-text', connectName: 'io.debezium.data.Tsvector' }],
    ['ltree', 19418, -1, { kind: 'named-text', connectName: 'io.debezium.data.Ltree' }],
    ['an enum', 19715, -1, { kind: 'enum', labels: ['sad', 'ok', 'happy'] }],
    ['a domain', 90001, -1, { kind: 'numeric', precision: 12, scale: 2 }],
    ['text[]', 1009, -1, { kind: 'array', element: { kind: 'text' } }],
    [
      'numeric(10,2)[]',
      1231,
      numericTypmod(10, 2),
      { kind: 'array', element: { kind: 'numeric', precision: 10, scale: 2 } },
    ],
    [
      'an array of a domain',
      90002,
      -1,
      { kind: 'array', element: { kind: 'numeric', precision: 12, scale: 2 } },
    ],
    ['a domain of an array', 90003, -1, { kind: 'array', element: { kind: 'text' } }],
    ['box[]', 1020, -1, { kind: 'other' }],
    ['interval', 1186, -1, { kind: 'restated', form: 'interval', length: 0 }],
    ['time with time zone', 1266, -1, { kind: 'restated', form: 'timetz', length: 0 }],
    ['money', 790, -1, { kind: 'restated', form: 'money', length: 0 }],
    ['hstore', 19290, -1, { kind: 'restated', form: 'hstore', length: 0 }],
    ['bit(1)', 1560, 1, { kind: 'restated', form: 'bit', length: 0 }],
    ['bit(8)', 1560, 8, { kind: 'restated', form: 'bits', length: 8 }],
    ['varbit', 1562, -1, { kind: 'restated', form: 'bits', length: 2_147_483_647 }],
    ['interval[]', 1187, -1, { kind: 'array', element: { kind: 'other' } }],
    ['a composite', 90004, -1, { kind: 'other' }],
    ['int2vector', 22, -1, { kind: 'other' }],
    ['a type nobody knows', 4_000_000_000, -1, { kind: 'other' }],
  ])('%s', (...[, oid, typmod, expected]) => {
    expect(resolveType(oid, typmod, types)).toEqual(expected);
  });

  it('a domain that contains itself ends in an error, not in a loop', () => {
    const loop = new Map([
      [1, { ...base, oid: 1, name: 'd', kind: 'd', baseOid: 1, enumLabels: [] }],
    ]);
    expect(() => resolveType(1, -1, loop)).toThrow('nests more than 32 levels');
  });

  it.each([
    [{ kind: 'numeric', precision: 12, scale: 2 }, 'DECIMAL(12,2)', 'NUMERIC'],
    [{ kind: 'numeric', precision: 38, scale: 20 }, 'DECIMAL(38,20)', 'BIGNUMERIC'],
    [{ kind: 'numeric', precision: 39, scale: 2 }, 'VARCHAR', 'BIGNUMERIC'],
    [{ kind: 'numeric', precision: 100, scale: 50 }, 'VARCHAR', 'STRING'],
    [{ kind: 'numeric', precision: 3, scale: -2 }, 'VARCHAR', 'STRING'],
    [{ kind: 'numeric', precision: 2, scale: 5 }, 'VARCHAR', 'NUMERIC'],
    [{ kind: 'numeric-free' }, 'VARCHAR', 'STRING'],
    [{ kind: 'oid' }, 'UINTEGER', 'INT64'],
    [
      { kind: 'array', element: { kind: 'numeric', precision: 9, scale: 1 } },
      'DECIMAL(9,1)[]',
      'JSON',
    ],
    [{ kind: 'timestamp', precision: 3 }, 'TIMESTAMP', 'DATETIME'],
    [{ kind: 'timestamptz', precision: 6 }, 'TIMESTAMPTZ', 'TIMESTAMP'],
  ] as const)('%j is %s in DuckDB and %s in BigQuery', (type, duckdb, bigquery) => {
    expect([duckdbTypeOf(type), bigqueryTypeOf(type)]).toEqual([duckdb, bigquery]);
  });
});
