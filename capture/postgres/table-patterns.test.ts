import { expect, test } from 'vitest';

import { compilePatterns } from './table-patterns.ts';

test.each([
  ['a star stands for any characters', ['public.*'], 'public.service_event', true],
  ['a dot is a dot', ['public.*'], 'publicXservice_event', false],
  ['a question mark stands for one character', ['public.t?'], 'public.t12', false],
  ['an excluded name stays out', ['*.*', '!audit.*'], 'audit.entry', false],
  ['exclusion does not depend on its place', ['!audit.*', '*.*'], 'audit.entry', false],
  ['names are taken literally', ['public.a+b'], 'public.a+b', true],
  ['no pattern matches nothing', [], 'public.t', false],
] as const)('%s', (...[, patterns, name, expected]) => {
  expect(compilePatterns(patterns)(name)).toBe(expected);
});
