import { describe, expect, test } from 'vitest';
import { checkOverrides, compilePolicy, policyText } from './column-policy.ts';

const none = { json: undefined, unfit: undefined };

describe('a column policy', () => {
  const policyOf = compilePolicy({
    json: 'json',
    unfit: 'exact_text',
    overrides: [
      { ...none, column: 'public.orders.*', unfit: 'dead_letter' },
      { ...none, column: '*.*.payload', json: 'string' },
      { ...none, column: 'public.orders.payload', json: 'json' },
      { ...none, column: 'public.orders.n?te', unfit: 'exact_text' },
    ],
  });

  test.each([
    ['public.items.data', 'json', 'exact_text'],
    ['public.orders.data', 'json', 'dead_letter'],
    ['sales.orders.payload', 'string', 'exact_text'],
    ['public.orders.payload', 'json', 'dead_letter'],
    ['public.orders.note', 'json', 'exact_text'],
    ['public.orders_old.note', 'json', 'exact_text'],
  ])('of %s comes from the last override that sets it', (column, json, unfit) => {
    expect(policyOf(column)).toEqual({ json, unfit });
  });
});

test('settings that differ have texts that differ, and the default has none', () => {
  const settings = { json: 'string' as const, unfit: 'exact_text' as const, overrides: [] };
  const override = { ...none, column: 'public.orders.*', unfit: 'dead_letter' as const };
  expect(policyText(settings)).toBe('');
  const texts = [
    policyText({ ...settings, unfit: 'dead_letter' }),
    policyText({ ...settings, overrides: [override] }),
    policyText({ ...settings, overrides: [{ ...override, column: 'public.items.*' }] }),
  ];
  expect(new Set(['', ...texts]).size).toBe(4);
});

test('an override that matches no column is a warning, with its place', () => {
  const overrides = [
    { ...none, column: 'public.orders.*', json: 'json' as const },
    { ...none, column: 'public.ordres.payload', json: 'json' as const },
  ];
  const tables = [{ name: 'public.orders', columns: ['id', 'payload'] }];
  const settings = { json: 'string', unfit: 'exact_text', overrides } as const;
  expect(checkOverrides(settings, tables)).toMatchObject([
    {
      severity: 'warning',
      what: 'columns.overrides.1 matches no column: "public.ordres.payload"',
    },
  ]);
});
