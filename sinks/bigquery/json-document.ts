/** Arrays and objects within one another. https://cloud.google.com/bigquery/quotas#standard_tables */
const jsonDepthMax = 500;
const uint64Max = 2n ** 64n - 1n;
const int64Min = -(2n ** 63n);
/** A FLOAT64 written out needs some 330; what is longer has digits that none has. */
const numberLettersMax = 1_000;

/** What a document is once it was in a JSON column of BigQuery. */
export interface JsonDocument {
  /**
   * jsonb's text of the value that BigQuery keeps: two texts have the same one exactly when they are the same
   * document there. So a document of just this text comes back as it was, whatever order its keys have by then.
   */
  readonly canonical: string;
  /** Why BigQuery would keep another value, or none; null when it keeps this one. */
  readonly problem: string | null;
}

/**
 * Reads a document as BigQuery's JSON does: numbers beyond −2^63 … 2^64−1 or with a point become FLOAT64, the first
 * of equal keys wins, order and spelling are lost. https://cloud.google.com/bigquery/docs/json-data
 */
export function readJson(text: string): JsonDocument {
  const reader = new JsonReader(text);
  try {
    return { canonical: reader.read(), problem: reader.problem };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { canonical: '', problem: error.message };
  }
}

class Unreadable extends Error {}

const space = /[ \t\n\r]*/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const word = /true|false|null/y;

class JsonReader {
  problem: string | null = null;
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): string {
    const value = this.#value();
    this.#take(space);
    if (this.#at < this.#text.length) throw new Unreadable('it is no JSON');
    return value;
  }

  #value(): string {
    this.#take(space);
    const sign = this.#text[this.#at];
    if (sign === '{' || sign === '[') {
      this.#depth += 1;
      if (this.#depth > jsonDepthMax) {
        throw new Unreadable(`it is nested deeper than ${jsonDepthMax} levels`);
      }
      this.#at += 1;
      const nested = sign === '{' ? this.#object() : this.#array();
      this.#depth -= 1;
      return nested;
    }
    if (sign === '"') return this.#string();
    const digits = this.#take(number);
    if (digits !== null) return this.#number(digits);
    const literal = this.#take(word);
    if (literal === null) throw new Unreadable('it is no JSON');
    return literal;
  }

  #array(): string {
    const items: string[] = [];
    if (this.#isNext(']')) return '[]';
    for (;;) {
      items.push(this.#value());
      if (this.#isNext(']')) return `[${items.join(', ')}]`;
      this.#expect(',');
    }
  }

  #object(): string {
    const members = new Map<string, string>();
    if (this.#isNext('}')) return '{}';
    for (;;) {
      this.#take(space);
      const key = this.#string();
      this.#expect(':');
      const value = this.#value();
      if (members.has(key)) this.problem ??= 'a key stands in one object twice';
      else members.set(key, value);
      if (this.#isNext('}')) return objectText(members);
      this.#expect(',');
    }
  }

  #string(): string {
    const start = this.#at;
    if (this.#text[start] !== '"') throw new Unreadable('it is no JSON');
    this.#at = textEnd(this.#text, start + 1);
    const token = this.#text.slice(start, this.#at);
    if (!token.includes('\\')) return token;
    const value = unescaped(token);
    if (!value.isWellFormed() || value.includes('\0')) {
      this.problem ??= 'a text in it is no Unicode, or has a character zero';
    }
    // It escapes what PostgreSQL does, in the same way.
    return JSON.stringify(value);
  }

  #number(digits: string): string {
    if (digits.length > numberLettersMax) {
      this.problem ??= 'a number in it is too long';
      return digits;
    }
    if (/^-?\d+$/.test(digits)) {
      const value = BigInt(digits);
      if (value >= int64Min && value <= uint64Max) return String(value);
    }
    const value = String(Number(digits));
    if (decimalOf(digits) !== decimalOf(value)) {
      this.problem ??= 'a number in it is neither a whole one of 64 bits nor one of FLOAT64';
    }
    return value;
  }

  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return null;
    this.#at = pattern.lastIndex;
    return match[0];
  }

  #isNext(sign: string): boolean {
    this.#take(space);
    if (this.#text[this.#at] !== sign) return false;
    this.#at += 1;
    return true;
  }

  #expect(sign: string): void {
    if (!this.#isNext(sign)) throw new Unreadable('it is no JSON');
  }
}

/** Index behind the quotation mark that ends a text. */
function textEnd(text: string, from: number): number {
  for (let at = from; ; at += 1) {
    at = text.indexOf('"', at);
    if (at < 0) throw new Unreadable('it is no JSON');
    let escapes = 0;
    while (text[at - 1 - escapes] === '\\') escapes += 1;
    if (escapes % 2 === 0) return at + 1;
  }
}

function unescaped(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    throw new Unreadable('it is no JSON');
  }
}

/** In jsonb's order: by length, then by bytes. */
function objectText(members: ReadonlyMap<string, string>): string {
  const keyed = [...members].map(([key, value]) => {
    const bytes = Buffer.from(key.includes('\\') ? (JSON.parse(key) as string) : key.slice(1, -1));
    return { bytes, text: `${key}: ${value}` };
  });
  keyed.sort((a, b) => a.bytes.length - b.bytes.length || Buffer.compare(a.bytes, b.bytes));
  return `{${keyed.map(({ text }) => text).join(', ')}}`;
}

/** The value of a number's text, spelled in one way: "-12.50e3" → "-125e2". */
function decimalOf(text: string): string {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (match === null) return text;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match;
  const digits = (whole + fraction).replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  const shift = BigInt(exponent) + BigInt(digits.length - significant.length - fraction.length);
  return `${sign}${significant}e${shift}`;
}
