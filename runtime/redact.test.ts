import { expect, test } from 'vitest';
import { createRedact, secretsOfUrl } from './redact.ts';

test.each([
  ['postgres://app:word@db/shop', 'postgres://app:***@db/shop'],
  [
    'at postgresql://app:w%40rd@[::1]:5432/x and http://u:p@h/',
    'at postgresql://app:***@[::1]:5432/x and http://u:***@h/',
  ],
  ['host=db password=word user=app', 'host=db password=*** user=app'],
  ['postgres://app@db/shop', 'postgres://app@db/shop'],
  ['http://localhost:8081/a:b', 'http://localhost:8081/a:b'],
  ['postgres://app:not/escaped@db/shop', 'postgres://app:***@db/shop'],
])('%s is shown as %s', (text, shown) => expect(createRedact()(text)).toBe(shown));

test('a known secret is hidden wherever it stands, also as JSON or a URL spells it', () => {
  const redact = createRedact(secretsOfUrl('postgres://app:p%22ss%2Fword@db/shop'));
  expect(redact('p"ss/word')).toBe('***');
  expect(redact(JSON.stringify({ said: 'p"ss/word' }))).toBe('{"said":"***"}');
  expect(redact('p%22ss%2Fword')).toBe('***');
});

test('a password of a few letters does not blank out every text that has them', () => {
  const redact = createRedact(secretsOfUrl('postgres://app:app@db/shop'));
  expect(redact('app: postgres://app:app@db/shop')).toBe('app: postgres://app:***@db/shop');
});
