import { DuckDBScalarFunction, VARCHAR } from '@duckdb/node-api';

/** Nesting of a JSON value, at most. */
const depthMax = 500;
const int64Min = -(2n ** 63n);
const uint64Max = 2n ** 64n - 1n;

/** `exact` refuses numbers that `round` rounds. PARSE_JSON is exact unless told. */
export type WideNumberMode = 'exact' | 'round';

type Token = { readonly kind: 'sign' | 'text' | 'number' | 'word'; readonly text: string };

function* tokensOf(text: string): Generator<Token, undefined, undefined> {
  const pattern =
    /[ \t\n\r]*(?:([{}[\]:,])|("(?:[^"\\]|\\.)*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null))/y;
  while (pattern.lastIndex < text.trimEnd().length) {
    const match = pattern.exec(text);
    if (match === null) throw new Error('Malformed JSON');
    const [, sign, quoted, number, word] = match;
    if (sign !== undefined) yield { kind: 'sign', text: sign };
    else if (quoted !== undefined) yield { kind: 'text', text: quoted };
    else if (number !== undefined) yield { kind: 'number', text: number };
    else yield { kind: 'word', text: word ?? '' };
  }
  return undefined;
}

/**
 * What a JSON column keeps of a text, as TO_JSON_STRING prints it: no spaces, keys in the order of their bytes, of
 * equal ones the first, whole numbers of 64 bits, all others as FLOAT64. Throws for more than 500 levels.
 * https://cloud.google.com/bigquery/docs/json-data
 */
export function storedJson(text: string, mode: WideNumberMode): string {
  JSON.parse(text);
  const tokens = tokensOf(text);
  const next = (): Token => tokens.next().value ?? { kind: 'sign', text: '' };
  const value = (token: Token, depth: number): string => {
    const isNested = token.text === '{' || token.text === '[';
    if (isNested && depth > depthMax) throw new Error(`JSON is nested deeper than ${depthMax}`);
    switch (token.kind) {
      case 'text':
        return storedText(token.text);
      case 'number':
        return storedNumber(token.text, mode);
      case 'word':
        return token.text;
      case 'sign':
        return token.text === '{' ? object(depth) : array(depth);
    }
  };
  const object = (depth: number): string => {
    const members = new Map<string, string>();
    for (let token = next(); token.text !== '}'; token = next()) {
      if (token.text === ',') continue;
      const key = storedText(token.text);
      next();
      const member = value(next(), depth + 1);
      if (!members.has(key)) members.set(key, member);
    }
    const sorted = [...members].toSorted(([a], [b]) =>
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
    );
    return `{${sorted.map(([key, member]) => `${key}:${member}`).join(',')}}`;
  };
  const array = (depth: number): string => {
    const items: string[] = [];
    for (let token = next(); token.text !== ']'; token = next()) {
      if (token.text !== ',') items.push(value(token, depth + 1));
    }
    return `[${items.join(',')}]`;
  };
  return value(next(), 1);
}

const storedText = (quoted: string): string =>
  JSON.stringify((JSON.parse(quoted) as string).toWellFormed());

function storedNumber(text: string, mode: WideNumberMode): string {
  const whole = /^-?\d+$/.test(text) ? BigInt(text) : null;
  if (whole !== null && whole >= int64Min && whole <= uint64Max) return String(whole);
  const float = Number(text);
  const isKept = Number.isFinite(float) && digitsOf(text) === digitsOf(float.toExponential());
  if (!Number.isFinite(float) || (mode === 'exact' && !isKept)) {
    throw new Error(`Input number: ${text} cannot round-trip through string representation`);
  }
  const printed = Object.is(float, -0) ? '-0' : String(float);
  return /^-?\d+$/.test(printed)
    ? Math.abs(float) < 1e17
      ? `${printed}.0`
      : float.toExponential()
    : printed;
}

/** Its significant digits and the power of ten of the first of them. */
function digitsOf(text: string): string {
  const [, whole = '', fraction = '', exponent = '0'] =
    /^-?(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(text) ?? [];
  const digits = whole + fraction;
  const first = digits.search(/[1-9]/);
  if (first < 0) return '0';
  const significant = digits.slice(first).replace(/0+$/, '');
  return `${significant} e${whole.length - 1 - first + Number(exponent)}`;
}

/** PARSE_JSON for DuckDB, in one of its modes. A JSON value of DuckDB's is the text that it is given. */
export function parseJsonFunction(name: string, mode: WideNumberMode): DuckDBScalarFunction {
  return DuckDBScalarFunction.create({
    name,
    parameterTypes: [VARCHAR],
    returnType: VARCHAR,
    mainFunction: (info, input, output) => {
      const texts = input.getColumnValues(0);
      for (const [index, text] of texts.entries()) {
        try {
          output.setItem(index, typeof text === 'string' ? storedJson(text, mode) : null);
        } catch (error) {
          info.setError(`Malformed JSON: ${error instanceof Error ? error.message : ''}`);
          return;
        }
      }
      output.flush();
    },
  });
}
