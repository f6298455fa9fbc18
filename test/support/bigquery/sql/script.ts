import { ServiceError } from '../service-error.ts';
import { isSign, isWord, type Token } from './tokens.ts';

/** A statement of a script. https://cloud.google.com/bigquery/docs/reference/standard-sql/procedural-language */
export type Statement =
  | {
      readonly kind: 'declare';
      readonly names: readonly string[];
      readonly value: readonly Token[];
    }
  | { readonly kind: 'set'; readonly name: string; readonly value: readonly Token[] }
  | { readonly kind: 'begin' | 'commit' | 'rollback' }
  | { readonly kind: 'raise'; readonly message: readonly Token[] }
  | {
      readonly kind: 'if';
      readonly branches: readonly Branch[];
      readonly otherwise: readonly Statement[];
    }
  | { readonly kind: 'sql'; readonly verb: string; readonly tokens: readonly Token[] };

interface Branch {
  readonly condition: readonly Token[];
  readonly statements: readonly Statement[];
}

const verbs = [
  'SELECT',
  'WITH',
  'INSERT',
  'MERGE',
  'UPDATE',
  'DELETE',
  'TRUNCATE',
  'CREATE',
  'ALTER',
  'DROP',
];

const fail = (what: string): never => {
  throw new ServiceError('invalidQuery', `Syntax error: ${what}`);
};

/** The statements of a script. Whatever is not understood throws `invalidQuery`. */
export function parseScript(tokens: readonly Token[]): Statement[] {
  const reader = new Reader(tokens);
  const statements = reader.block([]);
  if (reader.peek() !== undefined) fail(`Unexpected keyword ${reader.peek()?.text}`);
  return statements;
}

class Reader {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  block(ends: readonly string[]): Statement[] {
    const statements: Statement[] = [];
    for (let token = this.peek(); token !== undefined; token = this.peek()) {
      if (isWord(token, ...ends)) break;
      if (isSign(token, ';')) this.#at += 1;
      else statements.push(this.#statement(token));
    }
    return statements;
  }

  #statement(first: Token): Statement {
    if (isWord(first, 'IF')) return this.#if();
    const tokens = this.#until((token) => isSign(token, ';'));
    const verb = first.text.toUpperCase();
    const rest = tokens.slice(1);
    const isBare = rest.length === 0 || (rest.length === 1 && isWord(rest[0], 'TRANSACTION'));
    if (isWord(first, 'BEGIN', 'COMMIT', 'ROLLBACK')) {
      if (!isBare) fail(`${verb} blocks are not supported by this stand-in`);
      return { kind: verb.toLowerCase() as 'begin' | 'commit' | 'rollback' };
    }
    if (isWord(first, 'DECLARE')) return declaration(rest);
    if (isWord(first, 'SET'))
      return { kind: 'set', name: nameOf(rest[0]), value: assigned(rest.slice(1)) };
    if (isWord(first, 'RAISE')) {
      const isPlain =
        isWord(rest[0], 'USING') && isWord(rest[1], 'MESSAGE') && isSign(rest[2], '=');
      if (!isPlain) fail('Expected RAISE USING MESSAGE =');
      return { kind: 'raise', message: rest.slice(3) };
    }
    if (isSign(first, '(')) return { kind: 'sql', verb: 'SELECT', tokens };
    if (first.kind !== 'word' || !verbs.includes(verb)) fail(`Unexpected "${first.text}"`);
    return { kind: 'sql', verb: verb === 'WITH' ? 'SELECT' : verb, tokens };
  }

  /** Tokens up to one that ends them, outside brackets and CASE. The end is taken too, if it is a sign. */
  #until(isEnd: (token: Token) => boolean): Token[] {
    const taken: Token[] = [];
    let depth = 0;
    for (let token = this.peek(); token !== undefined; token = this.peek()) {
      if (depth === 0 && isEnd(token)) {
        this.#at += 1;
        break;
      }
      if (isSign(token, '(') || isWord(token, 'CASE')) depth += 1;
      if (isSign(token, ')') || (depth > 0 && isWord(token, 'END'))) depth -= 1;
      taken.push(token);
      this.#at += 1;
    }
    return taken;
  }

  #if(): Statement {
    const branches: Branch[] = [];
    let otherwise: Statement[] = [];
    do {
      this.#at += 1;
      const condition = this.#until((token) => isWord(token, 'THEN'));
      branches.push({ condition, statements: this.block(['ELSEIF', 'ELSE', 'END']) });
    } while (isWord(this.peek(), 'ELSEIF'));
    if (isWord(this.peek(), 'ELSE')) {
      this.#at += 1;
      otherwise = this.block(['END']);
    }
    if (!isWord(this.peek(), 'END') || !isWord(this.#tokens[this.#at + 1], 'IF'))
      fail('Expected END IF');
    this.#at += 2;
    return { kind: 'if', branches, otherwise };
  }
}

function declaration(tokens: readonly Token[]): Statement {
  const names: string[] = [];
  let at = 0;
  do {
    names.push(nameOf(tokens[at]));
    at += 2;
  } while (isSign(tokens[at - 1], ','));
  const at0 = tokens.findIndex((token) => isWord(token, 'DEFAULT'));
  const type = tokens.slice(at - 1, at0 === -1 ? undefined : at0);
  const value = at0 === -1 ? [{ kind: 'word', text: 'NULL' } as const] : tokens.slice(at0 + 1);
  if (type.length === 0) return { kind: 'declare', names, value };
  const sign = (text: string): Token => ({ kind: 'sign', text });
  const word = (text: string): Token => ({ kind: 'word', text });
  return {
    kind: 'declare',
    names,
    value: [word('CAST'), sign('('), ...value, word('AS'), ...type, sign(')')],
  };
}

function nameOf(token: Token | undefined): string {
  if (token?.kind !== 'word' && token?.kind !== 'quoted') return fail('Expected identifier');
  return token.text.toLowerCase();
}

function assigned(tokens: readonly Token[]): readonly Token[] {
  return isSign(tokens[0], '=') ? tokens.slice(1) : fail('Expected "="');
}
