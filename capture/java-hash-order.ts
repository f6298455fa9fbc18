/** A HashMap of Java begins with this many places and doubles them when three quarters are taken. */
const placesMin = 16;
const loadFactor = 0.75;

/**
 * The order in which a Java HashMap of Strings that was filled in the order given is walked: Debezium
 * counts the events of a transaction by table in one, and reads hstore into one.
 * https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/lang/String.html#hashCode()
 */
export function hashMapOrder(keys: readonly string[]): readonly string[] {
  let places = placesMin;
  while (keys.length > places * loadFactor) places *= 2;
  const placeOf = (key: string): number => spread(hashOf(key)) & (places - 1);
  // Sorting is stable: keys of one place stay in the order in which they came.
  return keys.toSorted((left, right) => placeOf(left) - placeOf(right));
}

function hashOf(text: string): number {
  let hash = 0;
  for (let at = 0; at < text.length; at += 1) {
    hash = (Math.imul(hash, 31) + text.charCodeAt(at)) | 0;
  }
  return hash;
}

const spread = (hash: number): number => hash ^ (hash >>> 16);
