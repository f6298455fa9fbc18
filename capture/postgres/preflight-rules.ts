import type { CatalogTable } from '../../schemas/catalog.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import { tableName } from '../../schemas/table-schema.ts';
import { quoteIdentifier, quoteLiteral } from './connection.ts';
import type { Finding, PreflightFacts } from './preflight.ts';
import { operations } from './publication.ts';
import { compilePatterns } from './table-patterns.ts';

const versionMin = 140_000;
/** From here on the server refuses updates whose replica identity has unpublished generated columns. */
const versionChecksGenerated = 180_000;
const slotWalKeepMegabytesMin = 1024;

/** The findings that follow from the facts, errors first. Pure. */
export function judgePreflight(facts: PreflightFacts): readonly Finding[] {
  const findings = [
    ...judgeServer(facts),
    ...judgeRole(facts),
    ...judgeSlot(facts),
    ...judgePublication(facts),
    ...facts.tables.flatMap((table) => judgeTable(facts, table)),
    ...judgeUnfit(facts),
    ...judgeOpenTransactions(facts),
  ];
  return findings.toSorted(
    (a, b) => Number(b.severity === 'error') - Number(a.severity === 'error'),
  );
}

function judgeServer({ server, slot }: PreflightFacts): Finding[] {
  const findings: Finding[] = [];
  if (server.versionNumber < versionMin) {
    const what = `PostgreSQL ${server.versionText} is older than 14`;
    findings.push(error(what, 'in-progress transactions cannot be streamed', null));
  }
  if (server.walLevel !== 'logical') {
    findings.push(
      error(
        `wal_level is "${server.walLevel}"`,
        'only "logical" writes what logical decoding needs; takes effect after a restart',
        'alter system set wal_level = logical',
      ),
    );
  }
  if (slot === null && server.slotsUsed >= server.slotsMax) {
    findings.push(
      error(
        `all ${server.slotsMax} replication slots are taken`,
        'capture needs one of its own; takes effect after a restart',
        `alter system set max_replication_slots = ${server.slotsMax + 4}`,
      ),
    );
  }
  if ((slot?.activePid ?? null) === null && server.sendersUsed >= server.sendersMax) {
    findings.push(
      error(
        `all ${server.sendersMax} WAL senders are in use`,
        'capture needs one; takes effect after a restart',
        `alter system set max_wal_senders = ${server.sendersMax + 4}`,
      ),
    );
  }
  return [...findings, ...judgeWalLimit(server.slotWalKeepMegabytes)];
}

const limitWalSql = `alter system set max_slot_wal_keep_size = '50GB';\nselect pg_reload_conf()`;

function judgeWalLimit(megabytes: number): Finding[] {
  if (megabytes < 0) {
    return [
      warning(
        'max_slot_wal_keep_size is not limited',
        'while capture is stopped its slot keeps WAL without bound and can fill the disk of the source',
        limitWalSql,
      ),
    ];
  }
  if (megabytes >= slotWalKeepMegabytesMin) return [];
  return [
    warning(
      `max_slot_wal_keep_size is ${megabytes} MB`,
      'a short stop or a large transaction is enough to invalidate the slot, and all tables must be read again',
      limitWalSql,
    ),
  ];
}

function judgeRole({ server, unreadable, tables }: PreflightFacts): Finding[] {
  const role = quoteIdentifier(server.role);
  const findings: Finding[] = [];
  if (!server.mayReplicate) {
    findings.push(
      error(
        `role "${server.role}" may not replicate`,
        'it needs the REPLICATION attribute (managed services: membership in their replication role)',
        `alter role ${role} with replication`,
      ),
    );
  }
  const closed = tables.filter(({ oid }) => unreadable.has(oid));
  if (closed.length > 0) {
    const which =
      closed.length === 1
        ? shortList(closed)
        : `${closed.length} of ${tables.length} tables: ${shortList(closed)}`;
    findings.push(
      error(
        `role "${server.role}" may not read ${which}`,
        'the snapshot reads every table once',
        grantReading(closed, role),
      ),
    );
  }
  return findings;
}

function grantReading(tables: readonly CatalogTable[], role: string): string {
  const schemas = [...new Set(tables.map(({ schema }) => quoteIdentifier(schema)))];
  return [
    ...schemas.map((schema) => `grant usage on schema ${schema} to ${role}`),
    `grant select on ${quoteTables(tables)} to ${role}`,
  ].join(';\n');
}

function judgeSlot({ slot, server }: PreflightFacts): Finding[] {
  if (slot === null) return [];
  const name = `slot "${slot.name}"`;
  const drop = `select pg_drop_replication_slot(${quoteLiteral(slot.name)})`;
  if (!slot.isLogical || slot.plugin !== 'pgoutput' || slot.database !== server.database) {
    const kind = slot.isLogical ? `${slot.plugin ?? '?'} of database ${slot.database}` : 'physical';
    return [error(`${name} is taken (${kind})`, 'choose another name in source.slot', null)];
  }
  if (slot.invalidation !== null) {
    return [
      error(
        `${name} was invalidated (${slot.invalidation})`,
        'changes are missing from it: all tables have to be read again',
        drop,
      ),
    ];
  }
  if (slot.activePid === null) return [];
  const confirmed =
    slot.confirmedLsn === null ? '' : `, confirmed up to ${formatLsn(slot.confirmedLsn)}`;
  return [
    warning(
      `${name} is read by process ${slot.activePid} of the server${confirmed}`,
      'only one capture can read it; this is right if yours is running',
      null,
    ),
  ];
}

function judgePublication(facts: PreflightFacts): Finding[] {
  const { options, publication, tables, server } = facts;
  const matches = compilePatterns(options.tables);
  const wanted = tables.filter((table) => matches(tableName(table)));
  const name = quoteIdentifier(options.publication);
  const findings: Finding[] = [];
  if (wanted.length === 0) {
    const why = `none matches ${options.tables.join(', ')}: correct source.tables`;
    findings.push(error('no table would be captured', why, null));
  }
  if (publication === null) {
    const list = quoteTables(wanted);
    const may = server.mayCreateInDatabase ? '' : ` (role "${server.role}" may not create it)`;
    const why = `it says which tables are streamed; create it before the slot${may}`;
    const sql = `create publication ${name} for table ${list} with (publish_via_partition_root = true)`;
    return [...findings, error(`publication "${options.publication}" does not exist`, why, sql)];
  }
  const published = new Set(publication.tables.map((table) => tableName(table)));
  const missing = wanted.filter(
    (table) => !published.has(tableName(table)) && (table.kind === 'r' || publication.viaRoot),
  );
  if (missing.length > 0) {
    findings.push(
      warning(
        `publication "${publication.name}" lacks ${missing.length} of ${wanted.length} tables: ${shortList(missing)}`,
        'their changes are not streamed',
        `alter publication ${name} add table ${quoteTables(missing)}`,
      ),
    );
  }
  const lacking = operations.filter((operation) => !publication.operations.includes(operation));
  if (lacking.length > 0) {
    findings.push(
      warning(
        `publication "${publication.name}" leaves out ${lacking.join(', ')}`,
        'the lake would keep rows that the source has changed or lost',
        `alter publication ${name} set (publish = 'insert, update, delete, truncate')`,
      ),
    );
  }
  return findings;
}

function judgeTable(facts: PreflightFacts, table: CatalogTable): Finding[] {
  const { publication, options, server } = facts;
  const published = publication?.tables.find(({ oid }) => oid === table.oid);
  const isWanted = compilePatterns(options.tables)(tableName(table));
  const changes = publication?.operations.filter((name) => name === 'update' || name === 'delete');
  const harms = published !== undefined && (changes?.length ?? 0) > 0;
  const findings: Finding[] = [];
  const why = harms
    ? 'updates and deletes of it fail at the source while it is published'
    : 'once it is published, updates and deletes of it fail at the source';
  if (isNeverWhole(table, server.versionNumber)) {
    const what = `${tableName(table)} has virtual columns, and its rows have no other identity than all of their columns`;
    const hasKey = table.primaryKey.length > 0;
    const advice = `${why}, for virtual columns are not published: ${hasKey ? 'let its primary key be the identity' : 'give it a primary key'}`;
    const sql = hasKey
      ? `alter table ${quoteTable(table)} replica identity default`
      : `alter publication ${quoteIdentifier(options.publication)} drop table ${quoteTable(table)}`;
    if (harms) findings.push(error(what, advice, sql));
    else if (isWanted) findings.push(warning(what, advice, hasKey ? sql : null));
    return findings;
  }
  if (!hasIdentity(table)) {
    const what = `${tableName(table)} has no ${table.replicaIdentity === 'nothing' ? 'replica identity' : 'primary key or replica identity'}`;
    const sql = `alter table ${quoteTable(table)} replica identity full`;
    if (harms || isWanted) findings.push(harms ? error(what, why, sql) : warning(what, why, sql));
  } else if (isWanted && table.primaryKey.length === 0 && table.identityIndex.length === 0) {
    findings.push(
      warning(
        `${tableName(table)} has no key`,
        'it is captured row by row without one: its snapshot is one long read, and its state is kept as a multiset',
        null,
      ),
    );
  }
  const hidden = table.columns.filter(
    ({ name, generated }) => generated !== null && published?.columns?.includes(name) !== true,
  );
  const isRefused =
    server.versionNumber >= versionChecksGenerated && table.replicaIdentity === 'full';
  if (harms && isRefused && hidden.length > 0) {
    findings.push(
      error(
        `${tableName(table)} has replica identity full and unpublished generated columns`,
        'updates and deletes of it fail at the source from PostgreSQL 18 on',
        `alter publication ${quoteIdentifier(options.publication)} set (publish_generated_columns = stored)`,
      ),
    );
  }
  return findings;
}

/** No publication makes updates of such a table possible: its identity is whole rows, and they cannot be sent whole. */
export function isNeverWhole(table: CatalogTable, serverVersion: number): boolean {
  return (
    serverVersion >= versionChecksGenerated &&
    (table.replicaIdentity === 'full' || !hasIdentity(table)) &&
    table.columns.some(({ generated }) => generated === 'virtual')
  );
}

function hasIdentity(table: CatalogTable): boolean {
  switch (table.replicaIdentity) {
    case 'full':
      return true;
    case 'default':
      return table.primaryKey.length > 0;
    case 'index':
      return table.identityIndex.length > 0;
    case 'nothing':
      return false;
    default:
      return table.replicaIdentity satisfies never;
  }
}

function judgeUnfit({ unfit }: PreflightFacts): Finding[] {
  return unfit.map(({ kind, ...table }) =>
    warning(
      `${tableName(table)} is ${kind === 'foreign' ? 'a foreign table' : 'unlogged'}`,
      'its changes are not in the WAL, so it is not captured',
      kind === 'unlogged' ? `alter table ${quoteTable(table)} set logged` : null,
    ),
  );
}

function judgeOpenTransactions({ slot, openTransactions }: PreflightFacts): Finding[] {
  if (slot !== null) return [];
  return openTransactions.map(({ pid, user, ageSeconds }) =>
    warning(
      `a transaction of user "${user}" (pid ${pid}) is open for ${Math.round(ageSeconds)} s`,
      'creating the slot waits until it ends',
      pid === 0 ? null : `select pg_terminate_backend(${pid})`,
    ),
  );
}

function error(what: string, why: string, sql: string | null): Finding {
  return { severity: 'error', what, why, sql };
}

function warning(what: string, why: string, sql: string | null): Finding {
  return { severity: 'warning', what, why, sql };
}

function quoteTable(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
}

/** One a line where there are many. */
function quoteTables(tables: readonly CatalogTable[]): string {
  return tables.map(quoteTable).join(tables.length > 5 ? ',\n  ' : ', ');
}

function shortList(tables: readonly CatalogTable[]): string {
  const names = tables.slice(0, 5).map(tableName).join(', ');
  return tables.length > 5 ? `${names} ...` : names;
}
