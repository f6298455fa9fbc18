import { expect, it } from 'vitest';
import { widenedType } from './layout.ts';

it.each([
  ['SMALLINT', 'INTEGER', 'INTEGER'],
  ['BIGINT', 'INTEGER', 'BIGINT'],
  ['UINTEGER', 'INTEGER', 'BIGINT'],
  ['INTEGER', 'DECIMAL(12,2)', 'DECIMAL(12,2)'],
  ['BIGINT', 'DECIMAL(12,2)', 'DECIMAL(21,2)'],
  ['DECIMAL(10,4)', 'DECIMAL(10,2)', 'DECIMAL(12,4)'],
  ['FLOAT', 'DOUBLE', 'DOUBLE'],
  ['DOUBLE', 'FLOAT', 'DOUBLE'],
  ['INTEGER', 'DOUBLE', 'DOUBLE'],
  ['DECIMAL(12,2)', 'VARCHAR', 'VARCHAR'],
  ['JSON', 'VARCHAR', 'VARCHAR'],
  ['TIMESTAMPTZ', 'TIMESTAMPTZ', 'TIMESTAMPTZ'],
])('%s takes values of %s as %s', (lake, wanted, widened) => {
  expect(widenedType(lake, wanted)).toBe(widened);
});

it.each([
  ['VARCHAR', 'BIGINT'],
  ['DECIMAL(12,2)', 'INTEGER'],
  ['DECIMAL(38,0)', 'DECIMAL(38,10)'],
  ['BIGINT', 'DOUBLE'],
  ['DOUBLE', 'VARCHAR'],
  ['BLOB', 'VARCHAR'],
  ['TIMESTAMP', 'TIMESTAMPTZ'],
  ['INTEGER[]', 'BIGINT[]'],
  ['UUID', 'BIGINT'],
])('%s cannot take values of %s without changing how they read', (lake, wanted) => {
  expect(widenedType(lake, wanted)).toBeNull();
});
