import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api';
import { ServiceError } from '../service-error.ts';
import { duckdbName, type Store } from '../store.ts';
import type { TableRef } from '../stream-store.ts';
import { defineTable, alterTable, dropTable } from './run-definition.ts';
import { checkInsertion, readInsertion } from './insert-types.ts';
import { changesMatchedRows, type Matching, readMerge, readUpdateFrom } from './merge-check.ts';
import { checkCells, type QueryResult, resultField } from './query-result.ts';
import { parseScript, type Statement } from './script.ts';
import { checkStored } from './stored-rules.ts';
import { isWord, type Token, tokenize } from './tokens.ts';
import { Transaction } from './transaction.ts';
import { type Names, quoteText, translate } from './translate.ts';

export interface ScriptRequest {
  readonly sql: string;
  readonly projectId: string;
  readonly datasetId: string | undefined;
  /** SQL of each parameter; those without a name by their number. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Called before each statement; tests hold a transaction open here. */
  readonly onStatement: (sql: string) => Promise<void>;
}

export interface ScriptOutcome {
  readonly result: QueryResult | undefined;
  readonly statementType: string;
  readonly dmlRows: number | undefined;
  /** Bytes of the tables that were read: 8 a value, whatever its type. */
  readonly bytes: number;
}

/** Runs a script; an error rolls back what is open and is thrown as a `ServiceError`. */
export async function runScript(store: Store, request: ScriptRequest): Promise<ScriptOutcome> {
  const statements = parseScript(tokenize(request.sql));
  if (statements.length === 0)
    throw new ServiceError('invalidQuery', 'Syntax error: Unexpected end of statement');
  const connection = await store.connect();
  const run = new ScriptRun(store, request, connection);
  try {
    await run.block(statements);
    if (run.transaction !== undefined) {
      throw new ServiceError(
        'invalidQuery',
        'Transaction is not committed at the end of the script',
      );
    }
    const statementType = statements.length === 1 ? run.statementType : 'SCRIPT';
    return { result: run.result, statementType, dmlRows: run.dmlRows, bytes: await run.bytes() };
  } catch (error) {
    throw translateError(error);
  } finally {
    run.transaction?.end(false);
    connection.closeSync();
  }
}

/** Parses, binds and plans without running, as a dry run does. */
export async function planScript(store: Store, request: ScriptRequest): Promise<ScriptOutcome> {
  const statements = parseScript(tokenize(request.sql));
  const connection = await store.connect();
  const run = new ScriptRun(store, request, connection);
  try {
    const [only] = statements;
    const isPlanned = statements.length === 1 && only?.kind === 'sql';
    const isQuery =
      isPlanned && ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE'].includes(only.verb);
    if (isQuery) await connection.run(`explain ${run.dml(only.verb, only.tokens)}`);
    const statementType = isPlanned ? only.verb : 'SCRIPT';
    return { result: undefined, statementType, dmlRows: undefined, bytes: await run.bytes() };
  } catch (error) {
    throw translateError(error);
  } finally {
    connection.closeSync();
  }
}

function translateError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/^(TransactionContext )?.*(conflict)/i.test(message)) {
    return new ServiceError(
      'invalidQuery',
      `Transaction is aborted due to concurrent update against table. ${message}`,
    );
  }
  // The text of ERROR() and RAISE is the message itself.
  return new ServiceError('invalidQuery', message.replace(/^Invalid Input Error: /, ''), 'query');
}

/** One run of a script: its variables, its open transaction, its last results. */
export class ScriptRun implements Names {
  readonly store: Store;
  readonly request: ScriptRequest;
  readonly connection: DuckDBConnection;
  transaction: Transaction | undefined;
  result: QueryResult | undefined;
  statementType = 'SCRIPT';
  dmlRows: number | undefined;
  readonly #variables = new Map<string, string>();
  readonly #read = new Set<TableRef>();
  #positional = 0;

  constructor(store: Store, request: ScriptRequest, connection: DuckDBConnection) {
    this.store = store;
    this.request = request;
    this.connection = connection;
  }

  /** The table of a path; undefined for one part without a default dataset that holds it (a name of WITH). */
  resolve(parts: readonly string[]): TableRef | undefined {
    const { projectId, datasetId } = this.request;
    const [a = '', b, c] = parts;
    if (parts.some((part) => part.toUpperCase() === 'INFORMATION_SCHEMA') || parts.length > 3) {
      throw new ServiceError(
        'invalidQuery',
        `${parts.join('.')} is not supported by this stand-in`,
      );
    }
    if (c !== undefined) return { projectId: a, datasetId: b ?? '', tableId: c };
    if (b !== undefined) return { projectId, datasetId: a, tableId: b };
    return datasetId === undefined ? undefined : { projectId, datasetId, tableId: a };
  }

  table(parts: readonly string[]): string {
    const ref = this.resolve(parts);
    if (parts.length === 1 && (ref === undefined || !this.store.hasTable(ref)))
      return `"${parts[0]}"`;
    if (ref === undefined)
      throw new ServiceError('invalidQuery', `Table ${parts.join('.')} has no dataset`);
    this.#read.add(this.store.table(ref).ref);
    return duckdbName(ref);
  }

  parameter(name: string): string {
    const key = name === '?' ? String(this.#positional++) : name;
    const sql = this.request.parameters.get(key);
    if (sql === undefined)
      throw new ServiceError('invalidQuery', `Query parameter '${name}' not found`);
    return sql;
  }

  variable(name: string): string | undefined {
    if (name === '@@row_count') return String(this.dmlRows ?? 0);
    if (name.startsWith('@@'))
      throw new ServiceError('invalidQuery', `${name} is not supported by this stand-in`);
    return this.#variables.get(name);
  }

  async bytes(): Promise<number> {
    let bytes = 0;
    for (const ref of this.#read) {
      if (!this.store.hasTable(ref)) continue;
      const rows = await this.connection.runAndReadAll(`select count(*) from ${duckdbName(ref)}`);
      bytes += Number(rows.getRows()[0]?.[0] ?? 0) * this.store.table(ref).fields.length * 8;
    }
    return bytes;
  }

  async block(statements: readonly Statement[]): Promise<void> {
    for (const statement of statements) await this.#statement(statement);
  }

  async #statement(statement: Statement): Promise<void> {
    switch (statement.kind) {
      case 'declare': {
        const value = await this.#value(statement.value);
        for (const name of statement.names) this.#variables.set(name, value);
        return;
      }
      case 'set':
        if (!this.#variables.has(statement.name))
          throw new ServiceError('invalidQuery', `Undeclared variable: ${statement.name}`);
        this.#variables.set(statement.name, await this.#value(statement.value));
        return;
      case 'raise':
        throw new ServiceError(
          'invalidQuery',
          (await this.#scalar(translate(statement.message, this))) ?? '',
        );
      case 'if': {
        for (const { condition, statements } of statement.branches) {
          if ((await this.#scalar(`(${translate(condition, this)})`)) === 'true')
            return this.block(statements);
        }
        return this.block(statement.otherwise);
      }
      case 'sql':
        await this.request.onStatement(statement.tokens.map(({ text }) => text).join(' '));
        return this.#sql(statement.verb, statement.tokens);
      default:
        await this.request.onStatement(statement.kind);
        return this.#control(statement.kind);
    }
  }

  async #control(kind: 'begin' | 'commit' | 'rollback'): Promise<void> {
    if ((kind === 'begin') === (this.transaction !== undefined)) {
      throw new ServiceError(
        'invalidQuery',
        kind === 'begin' ? 'Transaction already in progress' : 'No transaction in progress',
      );
    }
    await this.connection.run(kind);
    if (kind === 'begin') {
      this.transaction = new Transaction(this.store);
      // DuckDB takes its snapshot at the first read, BigQuery here.
      await this.connection.run('select count(*) from duckdb_tables()');
      return;
    }
    this.transaction?.end(kind === 'commit');
    this.transaction = undefined;
  }

  async #scalar(expression: string): Promise<string | undefined> {
    const rows = await this.connection.runAndReadAll(`select (${expression})::varchar`);
    const value = rows.getRows()[0]?.[0];
    return typeof value === 'string' ? value : undefined;
  }

  async #value(tokens: readonly Token[]): Promise<string> {
    const read = await this.connection.runAndReadAll(`select ${translate(tokens, this)}`);
    const type = read.columnTypes()[0];
    const value = await this.#scalar(translate(tokens, this));
    return `CAST(${value === undefined ? 'NULL' : quoteText(value)} AS ${String(type) === '"NULL"' ? 'BIGINT' : String(type)})`;
  }

  async #sql(verb: string, tokens: readonly Token[]): Promise<void> {
    this.statementType = verb;
    if (verb === 'CREATE') return defineTable(this, tokens);
    if (verb === 'ALTER') return alterTable(this, tokens);
    if (verb === 'DROP') return dropTable(this, tokens);
    if (verb === 'SELECT') {
      this.result = await this.query(translate(tokens, this));
      return;
    }
    const ref = this.#target(verb, tokens);
    // Rows that are only added conflict with nobody, whichever statement adds them.
    const isMutating = verb !== 'INSERT' && (verb !== 'MERGE' || changesMatchedRows(tokens));
    if (ref !== undefined) this.transaction?.change(ref);
    if (ref !== undefined && isMutating) await this.#mutate(ref);
    const matching =
      verb === 'MERGE' ? readMerge(tokens) : verb === 'UPDATE' ? readUpdateFrom(tokens) : undefined;
    if (matching !== undefined) await this.#refuseTwice(matching);
    if (verb === 'INSERT' && ref !== undefined) await this.#checkInsertion(ref, tokens);
    await this.atomically(async () => {
      const result = await this.connection.run(this.dml(verb, tokens));
      this.dmlRows = result.rowsChanged;
      if (ref !== undefined)
        await checkStored(this.connection, duckdbName(ref), this.store.table(ref).fields);
    });
    if (ref !== undefined && isMutating && this.transaction === undefined)
      this.store.noteCommit([ref]);
  }

  /** In the open transaction, or in one of its own. */
  async atomically(work: () => Promise<void>): Promise<void> {
    if (this.transaction !== undefined) return work();
    await this.connection.run('begin');
    try {
      await work();
      await this.connection.run('commit');
    } catch (error) {
      await this.connection.run('rollback');
      throw error;
    }
  }

  async #checkInsertion(ref: TableRef, tokens: readonly Token[]): Promise<void> {
    const insertion = readInsertion(tokens);
    if (insertion === undefined) return;
    const { fields } = this.store.table(ref);
    const byName = new Map(fields.map((field) => [field.name.toLowerCase(), field]));
    const targets = insertion.columns?.map((name) => byName.get(name)) ?? fields;
    const positional = this.#positional;
    await checkInsertion(this.connection, targets, translate(insertion.query, this));
    this.#positional = positional;
  }

  /** A statement for DuckDB, with the words that BigQuery may leave out. */
  dml(verb: string, tokens: readonly Token[]): string {
    if (verb === 'INSERT' && !isWord(tokens[1], 'INTO'))
      return translate(
        [tokens[0] as Token, { kind: 'word', text: 'INTO' }, ...tokens.slice(1)],
        this,
      );
    if (verb === 'MERGE' && !isWord(tokens[1], 'INTO'))
      return translate(
        [tokens[0] as Token, { kind: 'word', text: 'INTO' }, ...tokens.slice(1)],
        this,
      );
    if (verb === 'DELETE' && !isWord(tokens[1], 'FROM'))
      return translate(
        [tokens[0] as Token, { kind: 'word', text: 'FROM' }, ...tokens.slice(1)],
        this,
      );
    if (
      (verb === 'UPDATE' || verb === 'DELETE') &&
      !tokens.some((token) => isWord(token, 'WHERE'))
    ) {
      throw new ServiceError('invalidQuery', `${verb} must have a WHERE clause`);
    }
    return translate(tokens, this);
  }

  #target(verb: string, tokens: readonly Token[]): TableRef | undefined {
    const second = verb === 'TRUNCATE' || isWord(tokens[1], 'INTO', 'FROM') ? 2 : 1;
    const parts: string[] = [];
    for (let at = second; at < tokens.length; at += 2) {
      parts.push(...(tokens[at]?.text ?? '').split('.'));
      if (tokens[at + 1]?.text !== '.') break;
    }
    const ref = this.resolve(parts);
    if (ref === undefined || !this.store.hasTable(ref))
      return parts.length === 1 ? undefined : ref && this.store.table(ref).ref;
    return ref;
  }

  async #mutate(ref: TableRef): Promise<void> {
    if (this.transaction !== undefined) return this.transaction.mutate(ref);
    // Outside a transaction a statement waits for those that mutate its table.
    while (this.store.mutations(ref).holder !== undefined) await new Promise(setImmediate);
  }

  async #refuseTwice({ target, source, condition, clauses }: Matching): Promise<void> {
    const acts = clauses.map((clause) =>
      clause.length === 0 ? 'true' : `(${translate(clause, this)})`,
    );
    const from = (tokens: readonly Token[]) =>
      translate([{ kind: 'word', text: 'FROM' }, ...tokens], this).replace(/^FROM /, '');
    const alias = target.at(-1)?.text.split('.').at(-1) ?? '';
    const found = await this.connection.runAndReadAll(
      `select 1 from ${from(target)}, ${from(source)} where (${translate(condition, this)}) and (${acts.join(' or ')})
       group by "${alias}".rowid having count(*) > 1 limit 1`,
    );
    if (found.currentRowCount > 0) {
      throw new ServiceError(
        'invalidQuery',
        'UPDATE/MERGE must match at most one source row for each target row',
      );
    }
  }

  /** Runs a query of DuckDB and reads all of it. */
  async query(sql: string): Promise<QueryResult> {
    const read = await this.connection.runAndReadAll(sql);
    const types = read.columnTypes();
    const names = read.columnNames();
    const fields = types.map((type, index) =>
      resultField(columnName(names[index] ?? '', index), type),
    );
    const rows: DuckDBValue[][] = read.getRows();
    const result = { fields, rows };
    checkCells(result);
    return result;
  }
}

/** Columns without a name are called f0_, f1_ ... */
const columnName = (name: string, index: number): string =>
  /^\w+$/.test(name) ? name : `f${index}_`;
