import { ServiceError } from '../service-error.ts';
import { duckdbType, type FieldResource, readFields } from '../table-schema.ts';
import { isSign, isWord, splitAt, type Token } from './tokens.ts';

/** Words that GoogleSQL takes for a name only between backticks. */
export const reserved: ReadonlySet<string> = new Set(
  `ALL AND ANY ARRAY AS ASC ASSERT_ROWS_MODIFIED AT BETWEEN BY CASE CAST COLLATE CONTAINS CREATE CROSS CUBE CURRENT
  DEFAULT DEFINE DESC DISTINCT ELSE END ENUM ESCAPE EXCEPT EXCLUDE EXISTS EXTRACT FALSE FETCH FOLLOWING FOR FROM FULL
  GROUP GROUPING GROUPS HASH HAVING IF IGNORE IN INNER INTERSECT INTERVAL INTO IS JOIN LATERAL LEFT LIKE LIMIT LOOKUP
  MERGE NATURAL NEW NO NOT NULL NULLS OF ON OR ORDER OUTER OVER PARTITION PRECEDING PROTO QUALIFY RANGE RECURSIVE
  RESPECT RIGHT ROLLUP ROWS SELECT SET SOME STRUCT TABLESAMPLE THEN TO TREAT TRUE UNBOUNDED UNION UNNEST USING WHEN
  WHERE WINDOW WITH WITHIN`.split(/\s+/),
);

/** The name that a token is. Throws `invalidQuery` for a reserved word without backticks. */
export function nameToken(token: Token | undefined): string {
  const isName =
    token?.kind === 'quoted' || (token?.kind === 'word' && !reserved.has(token.text.toUpperCase()));
  if (token === undefined || !isName) {
    throw new ServiceError(
      'invalidQuery',
      `Syntax error: Unexpected keyword ${token?.text.toUpperCase()}`,
    );
  }
  return token.text;
}

/** Index behind the type that begins at `start`. */
export function typeEnd(tokens: readonly Token[], start: number): number {
  let at = start + 1;
  for (const [open, close] of [
    ['<', '>'],
    ['(', ')'],
  ] as const) {
    if (!isSign(tokens[at], open)) continue;
    let depth = 0;
    do {
      if (isSign(tokens[at], open)) depth += 1;
      if (isSign(tokens[at], close)) depth -= 1;
      at += 1;
    } while (depth > 0 && at < tokens.length);
  }
  return at;
}

/** A type as the REST schema has it. */
export function readType(name: string, tokens: readonly Token[]): FieldResource {
  const [first] = tokens;
  const inner = tokens.slice(2, -1);
  if (isWord(first, 'ARRAY')) return { ...readType(name, inner), mode: 'REPEATED' };
  if (isWord(first, 'STRUCT')) {
    const fields = splitAt(inner, ',').map((part) => readType(nameToken(part[0]), part.slice(1)));
    return { name, type: 'STRUCT', fields };
  }
  const length =
    isWord(first, 'STRING', 'BYTES') && isSign(tokens[1], '(') ? tokens[2]?.text : undefined;
  return { name, type: first?.text ?? '', ...(length === undefined ? {} : { maxLength: length }) };
}

/** DuckDB's name for a type. */
export function typeSql(tokens: readonly Token[]): string {
  const [field] = readFields([readType('value', tokens)]);
  if (field === undefined) throw new ServiceError('invalidQuery', 'Syntax error: Expected type');
  return duckdbType(field);
}
