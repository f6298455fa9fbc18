import { ServiceError } from '../service-error.ts';
import type { TableSettings } from '../store.ts';
import type { FieldResource } from '../table-schema.ts';
import { closingIndex, isSign, isWord, splitAt, type Token } from './tokens.ts';
import { nameToken, readType, typeEnd } from './types.ts';

/** A statement that creates a table or a view. */
export interface Definition {
  readonly what: 'table' | 'view';
  readonly isTemporary: boolean;
  readonly isReplacing: boolean;
  readonly isIfNotExists: boolean;
  readonly path: readonly string[];
  readonly columns: readonly FieldResource[] | undefined;
  readonly settings: TableSettings;
  /** Value of the option `expiration_timestamp`, an expression. */
  readonly expiration: readonly Token[] | undefined;
  readonly query: readonly Token[] | undefined;
}

const unexpected = (token: Token | undefined): never => {
  throw new ServiceError(
    'invalidQuery',
    `Syntax error: Unexpected "${token?.text ?? 'end of statement'}"`,
  );
};

/** Tokens of one statement, read from the left. */
export class Cursor {
  readonly #tokens: readonly Token[];
  at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  peek(offset = 0): Token | undefined {
    return this.#tokens[this.at + offset];
  }

  /** Takes these words, or nothing. */
  accept(...words: readonly string[]): boolean {
    if (!words.every((word, index) => isWord(this.peek(index), word))) return false;
    this.at += words.length;
    return true;
  }

  expect(...words: readonly string[]): void {
    if (!this.accept(...words)) unexpected(this.peek());
  }

  end(): void {
    if (this.peek() !== undefined) unexpected(this.peek());
  }

  path(): string[] {
    const parts: string[] = [];
    do {
      if (parts.length > 0) this.at += 1;
      const token = this.peek();
      if (token?.kind !== 'word' && token?.kind !== 'quoted') return unexpected(token);
      parts.push(...token.text.split('.'));
      this.at += 1;
    } while (isSign(this.peek(), '.'));
    return parts;
  }

  /** The parts in brackets. */
  list(): Token[][] {
    if (!isSign(this.peek(), '(')) return unexpected(this.peek());
    const close = closingIndex(this.#tokens, this.at);
    const parts = splitAt(this.#tokens.slice(this.at + 1, close), ',');
    this.at = close + 1;
    return parts;
  }

  until(...words: readonly string[]): Token[] {
    const start = this.at;
    while (this.peek() !== undefined && !isWord(this.peek(), ...words)) {
      if (isSign(this.peek(), '(')) this.at = closingIndex(this.#tokens, this.at);
      this.at += 1;
    }
    return this.#tokens.slice(start, this.at);
  }

  rest(): readonly Token[] {
    const start = this.at;
    this.at = this.#tokens.length;
    return this.#tokens.slice(start);
  }
}

/** A column as CREATE TABLE and ADD COLUMN write it. */
export function readColumn(tokens: readonly Token[]): FieldResource {
  const end = typeEnd(tokens, 1);
  const field = readType(nameToken(tokens[0]), tokens.slice(1, end));
  const rest = new Cursor(tokens.slice(end));
  const isRequired = rest.accept('NOT', 'NULL');
  if (rest.accept('OPTIONS')) rest.list();
  rest.end();
  return isRequired ? { ...field, mode: 'REQUIRED' } : field;
}

/** Parses CREATE TABLE and CREATE VIEW. Throws `invalidQuery` for what it does not know. */
export function readDefinition(tokens: readonly Token[]): Definition {
  const cursor = new Cursor(tokens);
  cursor.expect('CREATE');
  const isReplacing = cursor.accept('OR', 'REPLACE');
  const isTemporary = cursor.accept('TEMP') || cursor.accept('TEMPORARY');
  const what = cursor.accept('VIEW') ? 'view' : 'table';
  if (what === 'table') cursor.expect('TABLE');
  const isIfNotExists = cursor.accept('IF', 'NOT', 'EXISTS');
  const path = cursor.path();
  const parts = isSign(cursor.peek(), '(') ? cursor.list() : undefined;
  const isKey = (part: readonly Token[]) => isWord(part[0], 'PRIMARY') && isWord(part[1], 'KEY');
  const columns = parts?.filter((part) => !isKey(part)).map(readColumn);
  const { settings, expiration } = readClauses(cursor, parts?.find(isKey));
  const query = cursor.accept('AS') ? cursor.rest() : undefined;
  cursor.end();
  return {
    what,
    isTemporary,
    isReplacing,
    isIfNotExists,
    path,
    columns,
    settings,
    expiration,
    query,
  };
}

const columnNames = (parts: readonly (readonly Token[])[]): string[] =>
  parts.map((part) => part.map(({ text }) => text).join(''));

function readClauses(
  cursor: Cursor,
  key: readonly Token[] | undefined,
): Pick<Definition, 'settings' | 'expiration'> {
  let settings: TableSettings =
    key === undefined
      ? {}
      : {
          tableConstraints: {
            primaryKey: { columns: columnNames(new Cursor(key.slice(2)).list()) },
          },
        };
  let expiration: readonly Token[] | undefined;
  if (cursor.accept('PARTITION', 'BY'))
    settings = { ...settings, ...partitioning(cursor.until('CLUSTER', 'OPTIONS', 'AS')) };
  if (cursor.accept('CLUSTER', 'BY')) {
    settings = {
      ...settings,
      clustering: { fields: columnNames(splitAt(cursor.until('OPTIONS', 'AS'), ',')) },
    };
  }
  if (cursor.accept('OPTIONS')) {
    const options = readOptions(cursor.list());
    settings = { ...settings, ...options.settings };
    expiration = options.expiration;
  }
  return { settings, expiration };
}

function partitioning(tokens: readonly Token[]): TableSettings {
  const isFunction = isSign(tokens[1], '(');
  const unit = isWord(tokens[0], 'TIMESTAMP_TRUNC', 'DATETIME_TRUNC', 'DATE_TRUNC')
    ? tokens[4]?.text.toUpperCase()
    : 'DAY';
  const field = isFunction ? tokens[2] : tokens[0];
  if (field === undefined || isWord(tokens[0], 'RANGE_BUCKET')) return unexpected(tokens[0]);
  const isLoadTime = field.text.toUpperCase() === '_PARTITIONDATE';
  return {
    timePartitioning: { type: unit ?? 'DAY', ...(isLoadTime ? {} : { field: field.text }) },
  };
}

/** Options of a table. An unknown one throws `invalidQuery`. */
export function readOptions(
  parts: readonly (readonly Token[])[],
): Pick<Definition, 'settings' | 'expiration'> {
  let settings: TableSettings = {};
  let expiration: readonly Token[] | undefined;
  for (const [name, , ...value] of parts) {
    const text = value[0]?.text ?? '';
    if (isWord(name, 'DESCRIPTION')) settings = { ...settings, description: text };
    else if (isWord(name, 'EXPIRATION_TIMESTAMP')) expiration = value;
    else if (isWord(name, 'MAX_STALENESS') && isWord(value[2], 'MINUTE'))
      settings = { ...settings, maxStaleness: `0-0 0 0:${value[1]?.text}:0` };
    else if (isWord(name, 'REQUIRE_PARTITION_FILTER'))
      settings = { ...settings, requirePartitionFilter: /^true$/i.test(text) };
    else if (isWord(name, 'LABELS')) {
      const strings = value.filter(({ kind }) => kind === 'string').map((token) => token.text);
      const pairs = strings.flatMap((label, index) =>
        index % 2 === 0 ? [[label, strings[index + 1] ?? '']] : [],
      );
      settings = { ...settings, labels: Object.fromEntries(pairs) as Record<string, string> };
    } else throw new ServiceError('invalidQuery', `Unknown option: ${name?.text}`);
  }
  return { settings, expiration };
}
