import { ExactText, type RowImage, type Value } from './change.ts';

/**
 * A text that two values of one column share exactly when they are the same value: identity of keys,
 * of rows without a key, and of images in tests. It is never shown and never stored.
 */
export function valueIdentity(value: Value): string {
  switch (typeof value) {
    case 'string':
      return `s${value}`;
    case 'number':
      return `n${value}`;
    case 'bigint':
      return `i${value}`;
    case 'boolean':
      return value ? 't' : 'f';
    default:
      return objectIdentity(value);
  }
}

function objectIdentity(value: null | Uint8Array | ExactText | readonly Value[]): string {
  if (value === null) return '-';
  if (value instanceof ExactText) return `x${value.text}`;
  if (value instanceof Uint8Array) return `b${Buffer.from(value).toString('latin1')}`;
  return `a${joinIdentities(value)}`;
}

/** Lengths first, so that no value's content can imitate the border between two values. */
function joinIdentities(values: readonly Value[]): string {
  let joined = '';
  for (const value of values) {
    const identity = valueIdentity(value);
    joined += `${identity.length}:${identity}`;
  }
  return joined;
}

/** Equal as a key of a Map exactly when the values are the same. */
export type Identity = string | number | bigint;

/** Identity of the columns at `indices`: of a key, say. */
export function columnsIdentity(image: RowImage, indices: readonly number[]): Identity {
  const [first] = indices;
  if (first === undefined || indices.length > 1) {
    return joinIdentities(indices.map((index) => image[index] ?? null));
  }
  // Most keys are one column: no border is needed, and mostly it is an integer. Small ones are found faster.
  const value = image[first] ?? null;
  if (typeof value !== 'bigint') return valueIdentity(value);
  return BigInt.asIntN(52, value) === value ? Number(value) : value;
}

/** Identity of a whole row, for rows that have no key. */
export function rowIdentity(image: RowImage): string {
  return joinIdentities(image);
}
