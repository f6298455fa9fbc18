import { expect, test } from 'vitest';
import { sentColumns } from './publication.ts';

test.each([
  ['before 18 a generated column is listed and not sent', 150_018, ['id', 'price']],
  ['in 17 too', 170_006, ['id', 'price']],
  ['from 18 on what is listed is sent', 180_000, ['id', 'price', 'total']],
])('%s', (_, version, sent) => {
  expect(sentColumns(['id', 'price', 'total'], ['total'], version)).toEqual(sent);
});
