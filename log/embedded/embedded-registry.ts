import { resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { PipelineError } from '../../runtime/errors.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';
import { openDatabase } from './database.ts';
import { translated } from './errors.ts';

/**
 * Opens the schema registry that lives in the embedded log's file. Several processes may: the same text
 * gets the same id in all. Throws as `openEmbeddedLog` does.
 */
export async function openEmbeddedRegistry({
  path,
}: {
  readonly path: string;
}): Promise<SchemaRegistry> {
  const file = resolve(path);
  return new EmbeddedRegistry(file, openDatabase(file, { readOnly: false }));
}

class EmbeddedRegistry implements SchemaRegistry {
  readonly #path: string;
  readonly #database: DatabaseSync;
  /** Ids never change their text, so what was read once holds. */
  readonly #texts = new Map<number, string>();
  readonly #ids = new Map<string, number>();

  constructor(path: string, database: DatabaseSync) {
    this.#path = path;
    this.#database = database;
  }

  async register(subject: string, schemaText: string): Promise<number> {
    const key = `${subject}\n${schemaText}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    checkSchema(subject, schemaText);
    const id = translated(this.#path, () => this.#store(subject, schemaText));
    this.#ids.set(key, id);
    this.#texts.set(id, schemaText);
    return id;
  }

  async schemaText(id: number): Promise<string> {
    const known = this.#texts.get(id);
    if (known !== undefined) return known;
    const select = /* sql */ `select schema_text from schemas where id = ?`;
    const row = translated(this.#path, () => this.#database.prepare(select).get(id));
    if (row === undefined) {
      throw new PipelineError(
        'schema-unknown',
        `schema ${id} is not in the registry ${this.#path}`,
      );
    }
    const text = String(row['schema_text']);
    this.#texts.set(id, text);
    return text;
  }

  async close(): Promise<void> {
    if (this.#database.isOpen) this.#database.close();
  }

  #store(subject: string, schemaText: string): number {
    this.#database.exec(/* sql */ `begin immediate`);
    try {
      this.#database
        .prepare(/* sql */ `insert into schemas (schema_text) values (?) on conflict do nothing`)
        .run(schemaText);
      const row = this.#database
        .prepare(/* sql */ `select id from schemas where schema_text = ?`)
        .get(schemaText);
      const id = Number(row?.['id']);
      this.#database
        .prepare(/* sql */ `
          insert into subjects (subject, schema_id) values (?, ?) on conflict do nothing`)
        .run(subject, id);
      this.#database.exec(/* sql */ `commit`);
      return id;
    } finally {
      if (this.#database.isTransaction) this.#database.exec(/* sql */ `rollback`);
    }
  }
}

function checkSchema(subject: string, schemaText: string): void {
  try {
    JSON.parse(schemaText);
  } catch (cause) {
    throw new PipelineError('schema-rejected', `the schema for ${subject} is not JSON`, { cause });
  }
}
