import { ServiceError } from '../service-error.ts';
import { quoteName } from '../table-schema.ts';
import { functionName } from './functions.ts';
import { closingIndex, isSign, isWord, splitAt, type Token } from './tokens.ts';
import { typeEnd, typeSql } from './types.ts';

/** What the names in a statement stand for. */
export interface Names {
  /** DuckDB's name of a table, by the parts of its path. */
  table(parts: readonly string[]): string;
  /** SQL of a query parameter: by name, or the next one for `?`. */
  parameter(name: string): string;
  /** SQL of a script's variable, or undefined for any other name. */
  variable(name: string): string | undefined;
}

const tableWords = ['FROM', 'JOIN', 'INTO', 'UPDATE', 'TABLE', 'MERGE', 'USING'];
const literalTypes: Readonly<Record<string, string>> = {
  TIMESTAMP: 'TIMESTAMPTZ',
  DATETIME: 'TIMESTAMP',
  DATE: 'DATE',
  TIME: 'TIME',
  NUMERIC: 'DECIMAL(38,9)',
};
const nowFunctions: Readonly<Record<string, string>> = {
  CURRENT_TIMESTAMP: 'now()',
  CURRENT_DATETIME: 'now()::timestamp',
  CURRENT_DATE: 'now()::date',
};

export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** A statement or expression of GoogleSQL as DuckDB's. What DuckDB does not know, it refuses by itself. */
export function translate(tokens: readonly Token[], names: Names): string {
  return new Translator(tokens, names).run();
}

class Translator {
  readonly #tokens: readonly Token[];
  readonly #names: Names;
  readonly #out: string[] = [];
  #at = 0;

  constructor(tokens: readonly Token[], names: Names) {
    this.#tokens = tokens;
    this.#names = names;
  }

  run(): string {
    while (this.#at < this.#tokens.length) this.#step();
    return this.#out.join(' ');
  }

  #peek(offset = 0): Token | undefined {
    return this.#tokens[this.#at + offset];
  }

  #put(text: string, taken = 1): void {
    this.#out.push(text);
    this.#at += taken;
  }

  #inner(tokens: readonly Token[]): string {
    return translate(tokens, this.#names);
  }

  #step(): void {
    const token = this.#peek();
    if (token === undefined) return;
    switch (token.kind) {
      case 'string':
        return this.#put(quoteText(token.text));
      case 'bytes':
        return this.#put(`unhex('${Buffer.from(token.text, 'latin1').toString('hex')}')`);
      case 'param':
        return this.#put(this.#names.parameter(token.text));
      case 'quoted':
        return this.#put(token.text.split('.').map(quoteName).join('.'));
      case 'word':
        return this.#word(token.text);
      default:
        return this.#sign(token.text);
    }
  }

  #sign(text: string): void {
    // DuckDB gives NULL where BigQuery fails.
    if (text === '/')
      throw new ServiceError(
        'invalidQuery',
        '"/" is not supported by this stand-in: SAFE_DIVIDE is',
      );
    this.#put(text);
  }

  #word(text: string): void {
    const upper = text.toUpperCase();
    const isMember = isSign(this.#peek(-1), '.');
    if (isMember) return this.#put(quoteName(text));
    if (upper === 'EXTRACT' && isSign(this.#peek(1), '(')) return this.#extract();
    if (tableWords.includes(upper) && !isWord(this.#peek(-1), 'DISTINCT'))
      return this.#tableWord(upper);
    if (upper === 'UNNEST' && isSign(this.#peek(1), '(')) return this.#unnest();
    if (upper === 'IN' && isWord(this.#peek(1), 'UNNEST')) return this.#inUnnest();
    if (upper === 'LIKE' && this.#peek(1)?.kind === 'string')
      return this.#put(`LIKE ${quoteText(this.#peek(1)?.text ?? '')} ESCAPE '\\'`, 2);
    if (upper === 'EXCEPT') return this.#except();
    if (upper === 'UNION' && isWord(this.#peek(1), 'DISTINCT')) return this.#put('UNION', 2);
    if (upper === 'CAST' || upper === 'SAFE_CAST') return this.#cast(upper);
    if (upper === 'STRUCT' && isSign(this.#peek(1), '(')) return this.#struct();
    if (upper === 'ARRAY' && isSign(this.#peek(1), '<')) return this.#typedArray();
    if (isSign(this.#peek(1), '(')) return this.#call(upper);
    const type = literalTypes[upper];
    const next = this.#peek(1);
    if (upper === 'BIGNUMERIC' && next?.kind === 'string')
      return this.#put(`bq_bignumeric(${quoteText(next.text)})`, 2);
    if (upper === 'JSON' && next?.kind === 'string')
      return this.#put(`parse_json(${quoteText(next.text)})`, 2);
    if (type !== undefined && next?.kind === 'string')
      return this.#put(`CAST(${quoteText(next.text)} AS ${type})`, 2);
    if (upper in nowFunctions) return this.#put(nowFunctions[upper] ?? '');
    if (upper === 'SAFE')
      throw new ServiceError('invalidQuery', 'SAFE. is not supported by this stand-in');
    const isDotted = isSign(this.#peek(1), '.');
    this.#put((isDotted ? undefined : this.#names.variable(text.toLowerCase())) ?? text);
  }

  #tableWord(upper: string): void {
    this.#put(upper);
    if (upper === 'MERGE' && isWord(this.#peek(), 'INTO')) return;
    if (upper === 'UPDATE' && isWord(this.#peek(), 'SET')) return;
    if (isWord(this.#peek(), 'UNNEST', 'SELECT', 'SET')) return;
    const start = this.#at;
    this.#path();
    const isCall = this.#at > start && isSign(this.#peek(), '(');
    if (isCall && (upper === 'FROM' || upper === 'JOIN'))
      throw new ServiceError('invalidQuery', 'Table functions are not supported by this stand-in');
    if (upper === 'FROM')
      while (isSign(this.#peek(), ',') && this.#isPathNext()) {
        this.#put(',');
        this.#path();
      }
  }

  #isPathNext(): boolean {
    return (
      this.#peek(1)?.kind === 'quoted' ||
      (isSign(this.#peek(2), '.') && !isWord(this.#peek(1), 'UNNEST'))
    );
  }

  #path(): void {
    const parts: string[] = [];
    for (;;) {
      const token = this.#peek();
      if (token?.kind !== 'word' && token?.kind !== 'quoted') return;
      let name = token.text;
      this.#at += 1;
      while (parts.length === 0 && token.kind === 'word' && isSign(this.#peek(), '-')) {
        name += `-${this.#peek(1)?.text ?? ''}`;
        this.#at += 2;
      }
      parts.push(...name.split('.'));
      if (!isSign(this.#peek(), '.')) break;
      this.#at += 1;
    }
    this.#out.push(this.#names.table(parts));
    if (isWord(this.#peek(), 'FOR') && isWord(this.#peek(1), 'SYSTEM_TIME')) {
      throw new ServiceError('invalidQuery', 'FOR SYSTEM_TIME is not supported by this stand-in');
    }
  }

  /** The tokens in the brackets that open at an offset; reading goes on behind them. */
  #bracket(offset: number): readonly Token[] {
    const open = this.#at + offset;
    const close = closingIndex(this.#tokens, open);
    this.#at = close + 1;
    return this.#tokens.slice(open + 1, close);
  }

  #extract(): void {
    const [part, , ...value] = this.#bracket(1);
    // Others are counted from another start, or contain one another.
    if (!isWord(part, 'YEAR', 'QUARTER', 'MONTH', 'DAY', 'HOUR', 'MINUTE', 'SECOND'))
      throw new ServiceError(
        'invalidQuery',
        `EXTRACT of ${part?.text} is not supported by this stand-in`,
      );
    this.#out.push(`extract(${part?.text} FROM ${this.#inner(value)})`);
  }

  #unnest(): void {
    this.#out.push(`UNNEST(${this.#inner(this.#bracket(1))})`);
    if (isWord(this.#peek(), 'WITH')) {
      throw new ServiceError('invalidQuery', 'WITH OFFSET is not supported by this stand-in');
    }
    if (isWord(this.#peek(), 'AS')) this.#at += 1;
    const alias = this.#peek();
    const isAlias =
      alias?.kind === 'quoted' || (alias?.kind === 'word' && !isWord(alias, ...clauseWords));
    if (!isAlias) return;
    const name = quoteName(alias.text);
    this.#put(`AS ${name}(${name})`);
  }

  #inUnnest(): void {
    const isNot = this.#out.at(-1)?.toUpperCase() === 'NOT';
    if (isNot) this.#out.pop();
    const list = this.#inner(this.#bracket(2));
    this.#out.push(isNot ? `<> ALL(${list})` : `= ANY(${list})`);
  }

  #except(): void {
    if (isSign(this.#peek(-1), '*')) return this.#put('EXCLUDE');
    this.#put('EXCEPT', isWord(this.#peek(1), 'DISTINCT') ? 2 : 1);
  }

  #cast(upper: string): void {
    const tokens = this.#bracket(1);
    const as = tokens.findLastIndex((token) => isWord(token, 'AS'));
    const cast = upper === 'CAST' ? 'CAST' : 'TRY_CAST';
    const type = tokens.slice(as + 1);
    const value = this.#inner(tokens.slice(0, as));
    // BigQuery prints a NUMERIC without the zeros of its scale.
    const isText = isWord(type[0], 'STRING');
    if (isWord(type[0], 'BIGNUMERIC', 'BIGDECIMAL')) {
      const number = `bq_bignumeric(${value})`;
      this.#out.push(upper === 'CAST' ? number : `try(${number})`);
      return;
    }
    this.#out.push(isText ? `bq_string(${value})` : `${cast}(${value} AS ${typeSql(type)})`);
  }

  #struct(): void {
    const parts = splitAt(this.#bracket(1), ',').map((part, index) => {
      const isNamed = isWord(part.at(-2), 'AS');
      const last = part.at(-1);
      const own =
        last?.kind === 'word' && (part.length === 1 || isSign(part.at(-2), '.'))
          ? last.text
          : `_field_${index + 1}`;
      const name = isNamed ? (last?.text ?? '') : own;
      return `${quoteName(name)} := ${this.#inner(isNamed ? part.slice(0, -2) : part)}`;
    });
    this.#out.push(`struct_pack(${parts.join(', ')})`);
  }

  #typedArray(): void {
    const end = typeEnd(this.#tokens, this.#at);
    const type = typeSql(this.#tokens.slice(this.#at, end));
    this.#at = end;
    this.#out.push(`CAST([${this.#inner(this.#bracket(0))}] AS ${type})`);
  }

  #call(upper: string): void {
    if (upper in nowFunctions) {
      this.#bracket(1);
      this.#out.push(nowFunctions[upper] ?? '');
      return;
    }
    if (upper === 'PARSE_JSON') return this.#parseJson();
    if (upper !== 'GREATEST' && upper !== 'LEAST' && upper !== 'CONCAT') {
      return this.#put(functionName(upper));
    }
    // In BigQuery one NULL makes the result NULL; DuckDB passes over it.
    const values = splitAt(this.#bracket(1), ',').map((part) => `(${this.#inner(part)})`);
    if (upper === 'CONCAT') {
      this.#out.push(`(${values.join(' || ')})`);
      return;
    }
    const isNull = values.map((value) => `${value} IS NULL`).join(' OR ');
    this.#out.push(`CASE WHEN ${isNull} THEN NULL ELSE ${upper}(${values.join(', ')}) END`);
  }

  #parseJson(): void {
    const [text = [], mode = []] = splitAt(this.#bracket(1), ',');
    const value = mode.at(-1)?.text ?? 'exact';
    const isMode = mode.length === 0 || (mode.length === 3 && isWord(mode[0], 'WIDE_NUMBER_MODE'));
    if (!isMode || (value !== 'exact' && value !== 'round'))
      throw new ServiceError('invalidQuery', 'Syntax error: Unexpected argument of PARSE_JSON');
    const name = value === 'round' ? 'bq_parse_json_round' : 'parse_json';
    this.#out.push(`${name}(${this.#inner(text)})`);
  }
}

const clauseWords = [
  'WHERE',
  'GROUP',
  'ORDER',
  'LIMIT',
  'JOIN',
  'LEFT',
  'RIGHT',
  'INNER',
  'CROSS',
  'FULL',
  'ON',
  'USING',
  'QUALIFY',
  'HAVING',
  'UNION',
  'WHEN',
  'WINDOW',
  'EXCEPT',
  'INTERSECT',
  'THEN',
];
