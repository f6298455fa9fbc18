import { ServiceError } from '../service-error.ts';

/** A token of GoogleSQL. https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical */
export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'bytes' | 'number' | 'param' | 'sign';
  /** As written; of a string its content, of a quoted name its content. */
  readonly text: string;
}

const patterns: readonly (readonly [Token['kind'] | 'space', RegExp])[] = [
  ['space', /(\s+|--[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\/)/y],
  ['string', /([rRbB]{0,2})("""|'''|"|')/y],
  ['quoted', /`((?:\\.|[^`\\])+)`/y],
  ['word', /@{0,2}[A-Za-z_][A-Za-z0-9_]*/y],
  ['number', /(0x[0-9a-fA-F]+|\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)/y],
  ['sign', /(<=|>=|<>|!=|\|\||=>|[-+*/%.,;:()[\]<>=?&|^~])/y],
];

const escapes: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  b: '\b',
  f: '\f',
  v: '\v',
  a: '\u0007',
};

/** The tokens of a script, without space and comments. Throws `invalidQuery`. */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < sql.length) {
    const found = matchAt(sql, at);
    if (found === undefined) {
      throw new ServiceError(
        'invalidQuery',
        `Syntax error: Illegal input character at offset ${at}`,
      );
    }
    const [kind, match] = found;
    if (kind === 'string') {
      const [token, end] = readString(sql, at + match[0].length, match);
      tokens.push(token);
      at = end;
      continue;
    }
    if (kind !== 'space') tokens.push(readPlain(kind, match));
    at += match[0].length;
  }
  return tokens;
}

function matchAt(sql: string, at: number): [Token['kind'] | 'space', RegExpExecArray] | undefined {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const match = pattern.exec(sql);
    if (match !== null) return [kind, match];
  }
  return undefined;
}

function readPlain(kind: Token['kind'], match: RegExpExecArray): Token {
  if (kind === 'quoted') return { kind, text: match[1] ?? '' };
  if (kind === 'word' && match[0].startsWith('@') && !match[0].startsWith('@@')) {
    return { kind: 'param', text: match[0].slice(1).toLowerCase() };
  }
  return match[0] === '?' ? { kind: 'param', text: '?' } : { kind, text: match[0] };
}

function readString(sql: string, start: number, match: RegExpExecArray): [Token, number] {
  const [, prefix = '', quote = ''] = match;
  const isRaw = /r/i.test(prefix);
  let text = '';
  let at = start;
  while (at < sql.length && !sql.startsWith(quote, at)) {
    const length = sql[at] === '\\' && !isRaw ? escapeLength(sql, at) : 1;
    text += length === 1 ? sql[at] : unescape(sql.slice(at, at + length));
    at += length;
  }
  if (at >= sql.length)
    throw new ServiceError('invalidQuery', 'Syntax error: Unclosed string literal');
  return [{ kind: /b/i.test(prefix) ? 'bytes' : 'string', text }, at + quote.length];
}

function escapeLength(sql: string, at: number): number {
  const sign = sql[at + 1] ?? '';
  if (/[xX]/.test(sign)) return 4;
  if (sign === 'u') return 6;
  if (sign === 'U') return 10;
  return /[0-7]/.test(sign) ? 4 : 2;
}

function unescape(escape: string): string {
  const sign = escape[1] ?? '';
  if (/[xXuU]/.test(sign)) return String.fromCodePoint(Number.parseInt(escape.slice(2), 16));
  if (/[0-7]/.test(sign)) return String.fromCodePoint(Number.parseInt(escape.slice(1), 8));
  return escapes[sign] ?? sign;
}

export const isWord = (token: Token | undefined, ...words: readonly string[]): boolean =>
  token?.kind === 'word' && words.includes(token.text.toUpperCase());
export const isSign = (token: Token | undefined, sign: string): boolean =>
  token?.kind === 'sign' && token.text === sign;

/** The index of the sign that closes the bracket at `open`. */
export function closingIndex(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let index = open; index < tokens.length; index += 1) {
    const token = tokens[index];
    if (isSign(token, '(') || isSign(token, '[')) depth += 1;
    else if (isSign(token, ')') || isSign(token, ']')) depth -= 1;
    if (depth === 0) return index;
  }
  throw new ServiceError('invalidQuery', 'Syntax error: Expected ")" but got end of script');
}

/** The parts between signs that stand in no bracket. */
export function splitAt(tokens: readonly Token[], sign: string): Token[][] {
  const parts: Token[][] = [[]];
  let [depth, angles] = [0, 0];
  for (const token of tokens) {
    if (isSign(token, '(') || isSign(token, '[')) depth += 1;
    if (isSign(token, ')') || isSign(token, ']')) depth -= 1;
    if (isSign(token, '<')) angles += 1;
    if (isSign(token, '>')) angles -= 1;
    if (depth === 0 && (sign !== ',' || angles <= 0) && isSign(token, sign)) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return parts.length === 1 && parts[0]?.length === 0 ? [] : parts;
}
