import { quoteIdentifier, quoteLiteral } from '../../capture/postgres/connection.ts';
import type { CatalogTable } from '../../schemas/catalog.ts';

/** What the server is like now, as far as the SQL depends on it. */
export interface SourceFacts {
  readonly database: string;
  /** The role that asked. */
  readonly user: string;
  readonly userMayReplicate: boolean;
  readonly walLevel: string;
  readonly versionNumber: number;
  readonly roleExists: boolean;
  readonly publicationExists: boolean;
  readonly publishedTables: readonly string[];
}

export interface SourceStatement {
  /** Why it is needed; a comment in the file. */
  readonly why: string;
  readonly sql: string;
  /** Takes effect only after the server was restarted. */
  readonly needsRestart?: boolean;
}

/**
 * The exact SQL that makes a database ready, in the order to run it; what is there already is left
 * out. `role` reads the tables and streams; it is made unless the asking role can do so itself. Pure.
 */
export function sourceStatements(
  facts: SourceFacts,
  wanted: {
    readonly role: string;
    readonly publication: string;
    readonly tables: readonly CatalogTable[];
  },
): SourceStatement[] {
  return [
    ...settingStatements(facts),
    ...roleStatements(facts, wanted.role, wanted.tables),
    ...identityStatements(wanted.tables),
    ...publicationStatements(facts, wanted),
  ];
}

function settingStatements({ walLevel }: SourceFacts): SourceStatement[] {
  if (walLevel === 'logical') return [];
  const why = `wal_level is ${walLevel}; only logical carries row changes. Restart PostgreSQL after it.`;
  return [{ why, sql: 'alter system set wal_level = logical', needsRestart: true }];
}

function roleStatements(
  facts: SourceFacts,
  role: string,
  tables: readonly CatalogTable[],
): SourceStatement[] {
  if (role === facts.user && facts.userMayReplicate) return [];
  const name = quoteIdentifier(role);
  const schemas = [...new Set(tables.map((table) => table.schema))].toSorted();
  const create = facts.roleExists
    ? { why: `The role ${role} streams changes.`, sql: `alter role ${name} with replication` }
    : {
        why: `The role that streams changes; give it a password (psql: \\password ${role}).`,
        sql: `create role ${name} with login replication`,
      };
  return [
    create,
    {
      why: 'It connects and reads the tables for the snapshot.',
      sql: `grant connect on database ${quoteIdentifier(facts.database)} to ${name}`,
    },
    ...schemas.flatMap((schema) => [
      {
        why: `Reading schema ${schema}.`,
        sql: `grant usage on schema ${quoteIdentifier(schema)} to ${name}`,
      },
      {
        why: `Reading its tables.`,
        sql: `grant select on all tables in schema ${quoteIdentifier(schema)} to ${name}`,
      },
    ]),
  ];
}

/** Without an identity PostgreSQL refuses updates and deletes of a published table: the application would break. */
function identityStatements(tables: readonly CatalogTable[]): SourceStatement[] {
  const bare = tables.filter(
    (table) =>
      table.replicaIdentity === 'nothing' ||
      (table.replicaIdentity === 'default' && table.primaryKey.length === 0),
  );
  return bare.map((table) => ({
    why: `${table.schema}.${table.name} has no primary key: once published, its updates and deletes would fail without this.`,
    sql: `alter table ${tableIdentifier(table)} replica identity full`,
  }));
}

function publicationStatements(
  facts: SourceFacts,
  {
    publication,
    tables,
  }: { readonly publication: string; readonly tables: readonly CatalogTable[] },
): SourceStatement[] {
  const missing = tables.filter(
    (table) => !facts.publishedTables.includes(`${table.schema}.${table.name}`),
  );
  if (missing.length === 0 && facts.publicationExists) return [];
  const name = quoteIdentifier(publication);
  const list = missing.map(tableIdentifier).join(',\n  ');
  if (facts.publicationExists) {
    return [
      {
        why: 'Tables that the publication lacks.',
        sql: `alter publication ${name} add table\n  ${list}`,
      },
    ];
  }
  const why = 'The tables whose changes are streamed.';
  if (tables.length === 0) return [{ why, sql: `create publication ${name}` }];
  const viaRoot = tables.some((table) => table.kind === 'p')
    ? ' with (publish_via_partition_root = true)'
    : '';
  return [{ why, sql: `create publication ${name} for table\n  ${list}${viaRoot}` }];
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
