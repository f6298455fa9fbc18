import { expect, test } from 'vitest';
import { gatherColumns, type SchemaNote, type TypedColumn } from './gather-columns.ts';

const typed = (name: string, type: string, family: TypedColumn['family']): TypedColumn => ({
  name,
  type,
  family,
});
const note = (from: string, live: Readonly<Record<string, string>>): SchemaNote => ({
  schema: 'public',
  table: 'things',
  from,
  live: Object.entries(live).map(([name, physical]) => ({ name, physical })),
  columns: Object.values(live).map((physical) => ({
    physical,
    missing: physical === 'added' ? `'web'` : null,
  })),
  floor: null,
  notedAt: '2026-01-01 00:00:00',
});
const text = { family: 'text', hasExact: false } as const;

test('a column is found under its source name in all its places, newest first', () => {
  const columns = [
    typed('owner', 'UUID', 'uuid'),
    typed('owner__v2', 'BIGINT', 'integer'),
    typed('other__v2', 'VARCHAR', 'text'),
  ];
  const history = [
    note('A', { owner: 'owner', other__v2: 'other__v2' }),
    note('B', { owner: 'owner__v2', other__v2: 'other__v2' }),
  ];
  expect(gatherColumns(columns, history, new Set(['owner__v2']))).toEqual([
    {
      name: 'owner',
      family: 'text',
      places: [
        { name: 'owner__v2', family: 'integer', missing: null },
        { name: 'owner', family: 'uuid', missing: null },
      ],
      hasExact: true,
    },
    { ...text, name: 'other__v2', places: [{ name: 'other__v2', family: 'text', missing: null }] },
  ]);
});

test('places of one type keep it, names that differ in case are one; without a history each is its own', () => {
  const columns = [typed('Size', 'BIGINT', 'integer'), typed('size__v2', 'BIGINT', 'integer')];
  const history = [note('A', { Size: 'Size' }), note('B', { size: 'size__v2' })];
  expect(gatherColumns(columns, history, new Set())).toMatchObject([
    { name: 'size', family: 'integer' },
  ]);
  expect(gatherColumns(columns, [], new Set()).map(({ name }) => name)).toEqual([
    'Size',
    'size__v2',
  ]);
});

test('a constant that came with a column is read before it', () => {
  const columns = [typed('id', 'BIGINT', 'integer'), typed('added', 'VARCHAR', 'text')];
  const history = [note('A', { id: 'id' }), note('B', { id: 'id', added: 'added' })];
  expect(gatherColumns(columns, history, new Set())[1]?.places).toEqual([
    { name: 'added', family: 'text', missing: { sql: `'web'`, before: 'B' } },
  ]);
});
