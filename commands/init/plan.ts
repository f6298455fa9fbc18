import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readCatalog } from '../../capture/postgres/catalog.ts';
import { query, type SqlSession } from '../../capture/postgres/connection.ts';
import { discoverMapping } from '../../models/discover.ts';
import { mappingText } from '../../models/mapping-file.ts';
import type { Mapping } from '../../models/mapping.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { renderConfiguration } from './configuration-text.ts';
import { readFacts, readLeftOut, readRights } from './read-facts.ts';
import { renderSourceSql, type SourceStatement, sourceStatements } from './source-sql.ts';

const oldestVersion = 140_000;

export interface InitPlan {
  readonly mapping: Mapping;
  readonly configuration: string;
  readonly sql: string;
  readonly statements: readonly SourceStatement[];
  /** Tables that the patterns leave out, by schema. */
  readonly leftOut: ReadonlyMap<string, number>;
}

export interface InitChoices {
  /** Tables to capture: "schema.table" with * for any. */
  readonly patterns: readonly string[];
  /** Role that will stream; the session's own unless named. */
  readonly role: string | undefined;
}

/**
 * Reads a database and says what to write and run; changes nothing. Throws `source-unfit` for a server
 * that is too old and for patterns that match no table.
 */
export async function planInit(session: SqlSession, choices: InitChoices): Promise<InitPlan> {
  const { patterns, role } = choices;
  const facts = await readFacts(session, { role, publication: 'tributary' });
  if (facts.versionNumber < oldestVersion) {
    const version = Math.floor(facts.versionNumber / 10_000);
    throw new PipelineError(
      'source-unfit',
      `this is PostgreSQL ${version}; streaming needs 14 or newer`,
      { hint: 'upgrade the server' },
    );
  }
  const tables = await readCatalog(session, patterns);
  if (tables.length === 0) {
    const message = `database ${facts.database} has no table like ${patterns.join(', ')}`;
    throw new PipelineError('source-unfit', message, {
      hint: 'name other tables: --tables "schema.*"',
    });
  }
  const mapping = discoverMapping(tables);
  const statements = sourceStatements(facts, {
    rights: await readRights(session, facts.role, tables),
    publication: 'tributary',
    tables,
  });
  const configuration = renderConfiguration({
    prefix: facts.database.toLowerCase().replaceAll(/[^a-z0-9._-]/g, '_'),
    publication: 'tributary',
    slot: 'tributary',
    tables: patterns,
  });
  return {
    mapping,
    configuration,
    sql: renderSourceSql(statements, facts.database),
    statements,
    leftOut: await readLeftOut(session, patterns),
  };
}

const mappingHeading = `What each table means to the lineage and feature models. Guessed from names, keys and foreign keys:
read it, correct it, keep it under version control. Roles: master = whose row it is, actor = who did it,
parent = the row it hangs on, tenant = on whose behalf. "denied" never leaves staging, "masked" is hashed.`;

export const initFiles = ['tributary.yaml', 'mapping.yaml', 'tributary.sql'] as const;

/** Writes the three files; comments in a mapping that is there already stay. */
export async function writeInitFiles(dir: string, plan: InitPlan): Promise<void> {
  await mkdir(dir, { recursive: true });
  const [configuration, mapping, sql] = initFiles.map((name) => path.join(dir, name)) as [
    string,
    string,
    string,
  ];
  const before = await readFile(mapping, 'utf8').catch(() => null);
  await writeFile(configuration, plan.configuration);
  await writeFile(mapping, mappingText(plan.mapping, { before, heading: mappingHeading }));
  await writeFile(sql, plan.sql);
}

export interface ApplyOutcome {
  readonly applied: number;
  readonly refused: readonly { readonly sql: string; readonly message: string }[];
}

/**
 * Runs the statements, each on its own, and says which were refused. A grant that the role may not give is only a
 * warning to PostgreSQL; to the user it is a refusal.
 */
export async function applyStatements(
  session: SqlSession,
  statements: readonly SourceStatement[],
): Promise<ApplyOutcome> {
  const refused: { sql: string; message: string }[] = [];
  const warnings: string[] = [];
  session.on('notice', (notice) => {
    if (notice.severity === 'WARNING') warnings.push(notice.message ?? 'warning');
  });
  for (const { sql } of statements) {
    const failure = await query(session, sql).then(
      () => warnings.pop(),
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    if (failure !== undefined) refused.push({ sql, message: failure });
  }
  return { applied: statements.length - refused.length, refused };
}
