import { isWord, isSign, type Token } from './tokens.ts';

/** What of a MERGE or UPDATE decides whether a row of the target meets two of the source. */
export interface Matching {
  readonly target: readonly Token[];
  readonly source: readonly Token[];
  readonly condition: readonly Token[];
  /** Conditions of the clauses that change a matched row; an empty one is always true. */
  readonly clauses: readonly (readonly Token[])[];
}

const indexOf = (tokens: readonly Token[], words: readonly string[], start = 0): number => {
  let depth = 0;
  for (let index = start; index < tokens.length; index += 1) {
    const token = tokens[index];
    if (isSign(token, '(') || isWord(token, 'CASE')) depth += 1;
    if (isSign(token, ')') || (depth > 0 && isWord(token, 'END'))) depth -= 1;
    if (depth === 0 && isWord(token, ...words)) return index;
  }
  return -1;
};

/** The parts of a MERGE, or undefined if nothing in it changes a matched row. */
export function readMerge(tokens: readonly Token[]): Matching | undefined {
  const start = isWord(tokens[1], 'INTO') ? 2 : 1;
  const using = indexOf(tokens, ['USING'], start);
  const on = indexOf(tokens, ['ON'], using);
  const whens: number[] = [];
  for (let at = indexOf(tokens, ['WHEN'], on); at !== -1; at = indexOf(tokens, ['WHEN'], at + 1))
    whens.push(at);
  const clauses = whens
    .filter((at) => isWord(tokens[at + 1], 'MATCHED'))
    .map((at) =>
      tokens.slice(isWord(tokens[at + 2], 'AND') ? at + 3 : at + 2, indexOf(tokens, ['THEN'], at)),
    );
  if (clauses.length === 0) return undefined;
  return {
    target: tokens.slice(start, using),
    source: tokens.slice(using + 1, on),
    condition: tokens.slice(on + 1, whens[0]),
    clauses,
  };
}

/** Whether a MERGE updates or deletes rows, beside inserting them. */
export const changesMatchedRows = (tokens: readonly Token[]): boolean =>
  tokens.some(
    (token, index) =>
      isWord(token, 'MATCHED') &&
      (!isWord(tokens[index - 1], 'NOT') ||
        (isWord(tokens[index + 1], 'BY') && isWord(tokens[index + 2], 'SOURCE'))),
  );

/** The parts of an UPDATE ... FROM, or undefined if it has no FROM. */
export function readUpdateFrom(tokens: readonly Token[]): Matching | undefined {
  const set = indexOf(tokens, ['SET'], 1);
  const from = indexOf(tokens, ['FROM'], set);
  const where = indexOf(tokens, ['WHERE'], set);
  if (from === -1 || where === -1) return undefined;
  return {
    target: tokens.slice(1, set),
    source: tokens.slice(from + 1, where),
    condition: tokens.slice(where + 1),
    clauses: [[]],
  };
}
