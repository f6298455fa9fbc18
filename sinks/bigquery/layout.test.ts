import { expect, it } from 'vitest';
import { datasetNames, widenedType } from './layout.ts';

it.for([
  ['INT64', 'INT64', 'INT64'],
  ['INT64', 'NUMERIC', 'NUMERIC'],
  ['BIGNUMERIC', 'INT64', 'BIGNUMERIC'],
  ['NUMERIC', 'BIGNUMERIC', 'BIGNUMERIC'],
  ['INT64', 'FLOAT64', null],
  ['INT64', 'STRING', null],
  ['DATETIME', 'TIMESTAMP', null],
] as const)('a column of %s that is to hold %s becomes %s', ([lake, wanted, widened]) => {
  expect(widenedType(lake, wanted)).toBe(widened);
});

it('tables of the default schema keep their names, others carry their schema', () => {
  expect(datasetNames('lake', { schema: 'public', name: 't' }).changes).toBe('t__changes');
  expect(datasetNames('lake', { schema: 'shop', name: 't' }).view).toBe('shop__t');
});
