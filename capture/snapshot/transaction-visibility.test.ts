import { expect, test } from 'vitest';
import {
  fullTransactionId,
  isVisible,
  parseTransactionSnapshot,
} from './transaction-visibility.ts';

test.each([
  ['10:10:', 9, true],
  ['10:10:', 10, false],
  ['10:20:10,14', 10, false],
  ['10:20:10,14', 13, true],
  ['10:20:10,14', 14, false],
  ['10:20:10,14', 20, false],
  // Two ids of the epoch before the snapshot's, and one of the same epoch.
  ['12884901890:12884901900:12884901890', 4_294_967_295, true],
  ['12884901880:12884901900:12884901887', 4_294_967_295, false],
  ['12884901880:12884901900:12884901887', 1, true],
  // The snapshot is still in the epoch before: the transaction began after it.
  ['4294967200:4294967290:', 3, false],
])('in the snapshot %s the transaction %i is visible: %s', (text, xid, expected) => {
  expect(isVisible(parseTransactionSnapshot(text), xid)).toBe(expected);
});

test('a 32-bit id means the 64-bit id nearest to the snapshot', () => {
  expect(fullTransactionId(5, 7n)).toBe(5n);
  expect(fullTransactionId(4_294_967_295, 7n)).toBe(4_294_967_295n);
  expect(fullTransactionId(4_294_967_295, (1n << 32n) + 7n)).toBe(4_294_967_295n);
  expect(fullTransactionId(2, (2n << 32n) - 3n)).toBe((2n << 32n) + 2n);
});

test.each(['', '10:20', '10:20:a', '10:20:1,', ':20:'])('"%s" is refused', (text) => {
  expect(() => parseTransactionSnapshot(text)).toThrow(/is not a transaction snapshot/);
});
