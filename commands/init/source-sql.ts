import { quoteIdentifier, quoteLiteral } from '../../capture/postgres/connection.ts';
import { isNeverWhole } from '../../capture/postgres/preflight-rules.ts';
import type { CatalogTable } from '../../schemas/catalog.ts';

/** What the server is like now, as far as the SQL depends on it. */
export interface SourceFacts {
  readonly database: string;
  /** The role that will stream. */
  readonly role: string;
  readonly walLevel: string;
  readonly versionNumber: number;
  readonly publicationExists: boolean;
  readonly publishedTables: readonly string[];
}

/** What the role that will stream may do already. */
export interface RoleRights {
  readonly mayReplicate: boolean;
  readonly mayConnect: boolean;
  /** Tables to capture that it may not read. */
  readonly unreadable: readonly CatalogTable[];
}

/** From here on the server refuses updates whose replica identity has unpublished generated columns. */
const versionChecksGenerated = 180_000;

export interface SourceStatement {
  /** Why it is needed; a comment in the file. */
  readonly why: string;
  readonly sql: string;
  /** Takes effect only after the server was restarted. */
  readonly needsRestart?: boolean;
}

/**
 * The exact SQL that makes a database ready, in the order to run it; what is there already is left
 * out. `rights` are those of the role that reads the tables and streams; null: it is yet to be made. Pure.
 */
export function sourceStatements(facts: SourceFacts, wanted: WantedSource): SourceStatement[] {
  const [fit, unfit] = [false, true].map((isUnfit) =>
    wanted.tables.filter((table) => isNeverWhole(table, facts.versionNumber) === isUnfit),
  ) as [CatalogTable[], CatalogTable[]];
  return [
    ...settingStatements(facts),
    ...roleStatements(facts, wanted),
    ...identityStatements(fit),
    ...publicationStatements(facts, { ...wanted, tables: fit }),
    ...unfit.map((table) => unfitNote(table, wanted)),
  ];
}

/** A comment: the statement in it would have the application's updates refused. */
function unfitNote(table: CatalogTable, { publication }: WantedSource): SourceStatement {
  const name = quoteIdentifier(publication);
  return {
    why: `${table.schema}.${table.name} has virtual columns and no identity but all of its columns: published, its updates and deletes would fail. Make a primary key its identity first.`,
    sql: `-- alter publication ${name} add table ${tableIdentifier(table)}`,
  };
}

interface WantedSource {
  readonly rights: RoleRights | null;
  readonly publication: string;
  readonly tables: readonly CatalogTable[];
}

function settingStatements({ walLevel }: SourceFacts): SourceStatement[] {
  if (walLevel === 'logical') return [];
  const why = `wal_level is ${walLevel}; only logical carries row changes. Restart PostgreSQL after it.`;
  return [{ why, sql: 'alter system set wal_level = logical', needsRestart: true }];
}

function roleStatements(
  { role, database }: SourceFacts,
  { rights, tables }: WantedSource,
): SourceStatement[] {
  const name = quoteIdentifier(role);
  const statements: SourceStatement[] = [];
  if (rights === null) {
    statements.push({
      why: `The role that streams changes; give it a password (psql: \\password ${role}).`,
      sql: `create role ${name} with login replication`,
    });
  } else if (!rights.mayReplicate) {
    const why = `The role ${role} streams changes.`;
    statements.push({ why, sql: `alter role ${name} with replication` });
  }
  if (rights?.mayConnect !== true) {
    const sql = `grant connect on database ${quoteIdentifier(database)} to ${name}`;
    statements.push({ why: 'It connects to the database.', sql });
  }
  const unreadable = rights?.unreadable ?? tables;
  for (const schema of [...new Set(unreadable.map((table) => table.schema))].toSorted()) {
    const list = unreadable.filter((table) => table.schema === schema).map(tableIdentifier);
    statements.push(
      {
        why: `It reads every table once: first the schema ${schema}.`,
        sql: `grant usage on schema ${quoteIdentifier(schema)} to ${name}`,
      },
      {
        why: `Then the tables of it, and no others.`,
        sql: `grant select on\n  ${list.join(',\n  ')}\n  to ${name}`,
      },
    );
  }
  return statements;
}

const hasNoIdentity = (table: CatalogTable) =>
  table.replicaIdentity === 'nothing' ||
  (table.replicaIdentity === 'default' && table.primaryKey.length === 0);

/** Without an identity PostgreSQL refuses updates and deletes of a published table: the application would break. */
function identityStatements(tables: readonly CatalogTable[]): SourceStatement[] {
  return tables.filter(hasNoIdentity).map((table) => ({
    why: `${table.schema}.${table.name} has no primary key: once published, its updates and deletes would fail without this.`,
    sql: `alter table ${tableIdentifier(table)} replica identity full`,
  }));
}

function publicationStatements(
  facts: SourceFacts,
  { publication, tables }: WantedSource,
): SourceStatement[] {
  const missing = tables.filter(
    (table) => !facts.publishedTables.includes(`${table.schema}.${table.name}`),
  );
  const name = quoteIdentifier(publication);
  const list = missing.map(tableIdentifier).join(',\n  ');
  const generated = missing.filter((table) => needsGeneratedColumns(facts, table));
  if (facts.publicationExists) {
    const first = generated[0];
    return [
      ...(first === undefined ? [] : [publishGeneratedColumns(name, first)]),
      ...(missing.length === 0
        ? []
        : [
            {
              why: 'Tables that the publication lacks.',
              sql: `alter publication ${name} add table\n  ${list}`,
            },
          ]),
    ];
  }
  const why = 'The tables whose changes are streamed.';
  if (tables.length === 0) return [{ why, sql: `create publication ${name}` }];
  const options = [
    ...(tables.some((table) => table.kind === 'p') ? ['publish_via_partition_root = true'] : []),
    ...(generated.length > 0 ? ['publish_generated_columns = stored'] : []),
  ];
  const suffix = options.length === 0 ? '' : ` with (${options.join(', ')})`;
  return [{ why, sql: `create publication ${name} for table\n  ${list}${suffix}` }];
}

/** A row that is its own identity must be published whole, or its updates and deletes are refused. */
function needsGeneratedColumns(facts: SourceFacts, table: CatalogTable): boolean {
  return (
    facts.versionNumber >= versionChecksGenerated &&
    (table.replicaIdentity === 'full' || hasNoIdentity(table)) &&
    table.columns.some(({ generated }) => generated !== null)
  );
}

function publishGeneratedColumns(publication: string, table: CatalogTable): SourceStatement {
  return {
    why: `${table.schema}.${table.name} has generated columns and no key: unless they are published, its updates and deletes would fail.`,
    sql: `alter publication ${publication} set (publish_generated_columns = stored)`,
  };
}

const tableIdentifier = (table: CatalogTable) =>
  `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;

/** The statements as a file for the DBA to read and run with psql. */
export function renderSourceSql(statements: readonly SourceStatement[], database: string): string {
  const head = `-- What database ${quoteLiteral(database)} needs before changes can be streamed.\n-- Read it, then run it as a superuser (or the tables' owner): psql -f tributary.sql`;
  const body = statements.map(({ why, sql }) => `-- ${why}\n${sql};`);
  return (
    [head, ...(body.length === 0 ? ['-- Nothing: the database is ready.'] : body)].join('\n\n') +
    '\n'
  );
}
