import type { CatalogColumn, CatalogTable } from '../schemas/catalog.ts';
import { momentOf, pickColumn } from './discover-columns.ts';
import { mappedEntity } from './discover-names.ts';
import { referencesOf } from './discover-references.ts';
import type { MappedTable, Mapping } from './mapping.ts';

const eventTypeNames = ['event_type', 'action', 'event_name'] as const;
const eventTimeNames = [
  'occurred_at',
  'timestamp',
  'event_time',
  'started_at',
  'created_at',
] as const;
const tenantNames = [
  'campaign_id',
  'tenant_id',
  'organization_id',
  'org_id',
  'workspace_id',
] as const;
const amountNames = ['amount', 'total', 'total_amount', 'price'] as const;

const usersPattern = /(^|_)(user|users|account)(_master|_main)?$/;
const plainUsersPattern = /^(service_)?(user|users|account)(_master|_main)?$/;

/** Names that must never leave staging, and names that may only be shown as a hash. */
const deniedPattern = /password|secret|token_hash|private_key|api_key|(^|_)salt$/;
const maskedPattern =
  /e?mail|phone|iban|device_hash|(^|_)ip$|(^|_)ip_address$|user_agent|full_name|address|location|coordinates/;

/**
 * Understands a database of the master / service / event pattern from its catalog alone, by convention:
 * the master is the table that most `master_id`-like columns and foreign keys lead to. Gives a mapping
 * for a person to review; a database without the pattern gets one without a master. Pure.
 */
export function discoverMapping(tables: readonly CatalogTable[]): Mapping {
  const master = findMaster(tables);
  const users = findUsers(tables, master);
  const names = mappedEntity(tables);
  const mapped = tables.map((table) => {
    const name = nameOf(table);
    const isMaster = table === master;
    return [name, mapTable(table, { tables, master, users, isMaster, ...names(table) })] as const;
  });
  return {
    version: 1,
    master: master === null ? null : mapMaster(master),
    tables: Object.fromEntries(mapped.toSorted(([left], [right]) => (left < right ? -1 : 1))),
  };
}

const nameOf = (table: { readonly schema: string; readonly name: string }) =>
  `${table.schema}.${table.name}`;

interface Surroundings {
  readonly tables: readonly CatalogTable[];
  readonly master: CatalogTable | null;
  readonly users: CatalogTable | null;
  readonly isMaster: boolean;
  readonly service: string;
  readonly entity: string;
}

function mapTable(table: CatalogTable, around: Surroundings): MappedTable {
  const event = around.isMaster ? null : eventOf(table);
  const tenant = around.isMaster ? undefined : pickColumn(table, tenantNames);
  const masterColumns =
    around.isMaster || around.master === null ? null : masterColumnsOf(table, around.master);
  const { references, parent, actor } = referencesOf(table, around);
  return {
    kind: around.isMaster ? 'master' : event === null ? 'entity' : 'event',
    service: around.service,
    entity: around.entity,
    key: [...(table.primaryKey.length > 0 ? table.primaryKey : table.identityIndex)],
    master: masterColumns,
    parent: masterColumns === null && !around.isMaster ? parent : null,
    actor: around.isMaster ? null : actor,
    tenant: tenant === undefined ? null : { column: tenant.name, none: ['0', ''] },
    event,
    references,
    amount: pickColumn(table, amountNames)?.name ?? null,
    createdAt: momentOf(table, ['created_at', 'inserted_at', 'createdat']),
    updatedAt: momentOf(table, ['updated_at', 'modified_at', 'updatedat']),
    masked: namesLike(table, maskedPattern, deniedPattern),
    denied: namesLike(table, deniedPattern),
  };
}

function mapMaster(table: CatalogTable): Mapping['master'] {
  const [id] = table.primaryKey;
  return {
    table: nameOf(table),
    id: id ?? 'id',
    uuid:
      table.columns.find((column) => column.pgType === 'uuid' && column.name !== id)?.name ?? null,
    type: pickColumn(table, ['type', 'kind', 'category'])?.name ?? null,
    name: pickColumn(table, ['name', 'title', 'label'])?.name ?? null,
    createdAt: momentOf(table, ['created_at', 'inserted_at']),
    updatedAt: momentOf(table, ['updated_at', 'modified_at']),
  };
}

/** An event table says what happened and when; a job run says it with a start and an end. */
function eventOf(table: CatalogTable): MappedTable['event'] {
  const type = pickColumn(table, eventTypeNames);
  const isRun =
    /(_run|_log|_history|_event|_events)$/.test(table.name) && !pickColumn(table, ['username']);
  const at = momentOf(table, eventTimeNames);
  if (at === null || (type === undefined && !isRun)) return null;
  // `action` alone also appears in ordinary tables: an event has its own moment, not only created_at.
  if (type?.name === 'action' && at.column === 'created_at' && !isRun) return null;
  const named = (...names: string[]) => pickColumn(table, names)?.name ?? null;
  return {
    type: type?.name ?? named('job_name', 'name'),
    at,
    status: named('status', 'state'),
    payload: named('payload', 'properties', 'details', 'json_payload'),
    metadata: named('metadata', 'meta'),
    entityType: named('entity_type', 'resource_type'),
    entityId: named('entity_id', 'resource_id'),
    previousHash: named('prev_hash', 'previous_hash'),
    entryHash: named('entry_hash'),
  };
}

/** The master: what `master_id` foreign keys point at, else the table that most foreign keys point at with that name. */
function findMaster(tables: readonly CatalogTable[]): CatalogTable | null {
  const votes = new Map<string, number>();
  for (const table of tables) {
    for (const key of table.foreignKeys) {
      const isNamedSo = key.columns.length === 1 && /^master_(id|uuid)$/.test(key.columns[0] ?? '');
      const target = `${key.targetSchema}.${key.targetTable}`;
      if (isNamedSo) votes.set(target, (votes.get(target) ?? 0) + 1);
    }
  }
  const [winner] = [...votes].toSorted((left, right) => right[1] - left[1]);
  const byKeys = tables.find((table) => nameOf(table) === winner?.[0]);
  if (byKeys !== undefined) return byKeys;
  const used = tables.some((table) => pickColumn(table, ['master_id']) !== undefined);
  return used ? (tables.find((table) => /^masters?$/.test(table.name)) ?? null) : null;
}

/**
 * Where actors are looked up: the table of users, preferably one with a master of its own, whose name says
 * nothing beside `user` (`service_admin_user` holds a few of them) and that more foreign keys lead to.
 */
function findUsers(
  tables: readonly CatalogTable[],
  master: CatalogTable | null,
): CatalogTable | null {
  const candidates = tables.filter(
    (table) => table !== master && table.primaryKey.length === 1 && usersPattern.test(table.name),
  );
  const referrers = (users: CatalogTable) =>
    tables.filter((table) =>
      table.foreignKeys.some(
        (key) => nameOf({ schema: key.targetSchema, name: key.targetTable }) === nameOf(users),
      ),
    ).length;
  const score = (table: CatalogTable) =>
    (pickColumn(table, ['master_id', 'master_uuid']) ? 8 : 0) +
    (plainUsersPattern.test(table.name) ? 4 : 0) +
    (pickColumn(table, ['username', 'email']) ? 2 : 0) +
    (/user/.test(table.name) ? 1 : 0);
  return (
    candidates.toSorted(
      (left, right) => score(right) - score(left) || referrers(right) - referrers(left),
    )[0] ?? null
  );
}

function masterColumnsOf(table: CatalogTable, master: CatalogTable): MappedTable['master'] {
  const toMaster = table.foreignKeys.filter(
    (key) =>
      key.columns.length === 1 &&
      nameOf({ schema: key.targetSchema, name: key.targetTable }) === nameOf(master),
  );
  const declared = (target: string | undefined) =>
    toMaster.find((key) => key.targetColumns[0] === target && /master/.test(key.columns[0] ?? ''))
      ?.columns[0];
  const id = pickColumn(table, ['master_id'])?.name ?? declared(master.primaryKey[0]) ?? null;
  const uuid = pickColumn(table, ['master_uuid'])?.name ?? null;
  return id === null && uuid === null ? null : { id, uuid };
}

function namesLike(table: CatalogTable, pattern: RegExp, except?: RegExp): string[] {
  const matches = (column: CatalogColumn) =>
    pattern.test(column.name.toLowerCase()) && except?.test(column.name.toLowerCase()) !== true;
  return table.columns.filter(matches).map((column) => column.name);
}
