import { expect, test } from 'vitest';
import { Rewrites, wasRewritten } from './rewrites.ts';

const mark = (files: string, columns: string) => ({ files, columns });

test.each([
  ['never seen before', undefined, mark('f', 'c'), false],
  ['nothing moved', mark('f', 'c'), mark('f', 'c'), false],
  ['vacuum full moves the files alone', mark('f', 'c'), mark('g', 'c'), false],
  ['a new default changes the columns alone', mark('f', 'c'), mark('f', 'd'), false],
  ['alter column type changes both', mark('f', 'c'), mark('g', 'd'), true],
])('%s', (...[, before, now, expected]) => {
  expect(wasRewritten(before, now)).toBe(expected);
});

test('a rewrite is told once, also after a restart', () => {
  const rewrites = new Rewrites();
  expect(rewrites.take(new Map([[7, mark('f', 'c')]]))).toEqual([]);
  const restarted = new Rewrites(rewrites.state());
  const found = new Map([
    [7, mark('g', 'd')],
    [8, mark('x', 'y')],
  ]);
  expect(restarted.take(found)).toEqual([7]);
  expect(restarted.take(found)).toEqual([]);
});

test('looks between two changes keep them apart', () => {
  const rewrites = new Rewrites({ '7': mark('f', 'c') });
  expect(rewrites.take(new Map([[7, mark('g', 'c')]]))).toEqual([]);
  expect(rewrites.take(new Map([[7, mark('g', 'd')]]))).toEqual([]);
});

test('a table that is gone is forgotten', () => {
  const rewrites = new Rewrites({ '7': mark('f', 'c'), '8': mark('f', 'c') });
  rewrites.keep(new Set([8]));
  expect(Object.keys(rewrites.state())).toEqual(['8']);
});
