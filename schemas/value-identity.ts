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

/** Identity of the columns at `indices`: of a key, say. */
export function columnsIdentity(image: RowImage, indices: readonly number[]): string {
  const [first] = indices;
  // Most keys have one column: no border is needed.
  if (first !== undefined && indices.length === 1) return valueIdentity(image[first] ?? null);
  return joinIdentities(indices.map((index) => image[index] ?? null));
}

/** Identity of a whole row, for rows that have no key. */
export function rowIdentity(image: RowImage): string {
  return joinIdentities(image);
}
