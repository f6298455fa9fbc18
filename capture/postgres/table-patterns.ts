/**
 * Which tables are wanted: `schema.table` with `*` (any characters) and `?` (one); a pattern that begins
 * with `!` excludes what it matches, whatever its place in the list.
 */
export type TablePatterns = readonly string[];

/** A test of "schema.table" names against the patterns; the order of the patterns does not matter. */
export function compilePatterns(patterns: TablePatterns): (name: string) => boolean {
  const wanted = patterns.filter((pattern) => !pattern.startsWith('!')).map(toExpression);
  const excluded = patterns
    .filter((pattern) => pattern.startsWith('!'))
    .map((pattern) => toExpression(pattern.slice(1)));
  return (name) =>
    wanted.some((expression) => expression.test(name)) &&
    !excluded.some((expression) => expression.test(name));
}

function toExpression(pattern: string): RegExp {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's');
}
