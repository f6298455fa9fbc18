/** A column of a model that is the same for every table: the union's contract with the project's own models. */
export interface SharedColumn {
  readonly name: string;
  readonly type: 'text' | 'moment' | 'amount' | 'boolean' | 'integer';
  readonly description: string;
}

const column = (name: string, type: SharedColumn['type'], description: string): SharedColumn => ({
  name,
  type,
  description,
});

const originColumns = [
  column('source_table', 'text', 'The source table as schema.table.'),
  column('service', 'text', 'The service that the table belongs to.'),
  column('entity', 'text', 'What one row of the table is.'),
  column(
    'row_key',
    'text',
    'The primary key as text; several columns joined by |. The position, where a table has no key.',
  ),
];

const changeColumns = [
  column('op', 'text', 'c insert, r row of a snapshot, u update, d delete, t truncate.'),
  column(
    'change_id',
    'text',
    'The position of the change: unique, and its text order is the commit order.',
  ),
  column(
    'transaction_id',
    'text',
    'The part of the position that all changes of one transaction share.',
  ),
  column('xid', 'text', 'The transaction id of PostgreSQL; null for rows of a snapshot.'),
  column('commit_lsn', 'text', 'The LSN of the change as PostgreSQL prints it.'),
  column('committed_at', 'moment', 'When the source committed; null for rows of a snapshot. UTC.'),
  column(
    'available_at',
    'moment',
    'When the change could be known: its commit; for first rows of a snapshot assumed to be when the row came to be. Never falls within a key. UTC.',
  ),
  column('is_assumed', 'boolean', 'True when available_at is assumed, not recorded.'),
  column(
    'truncated_at',
    'moment',
    'When a truncate of the table came after this change; null if none. UTC.',
  ),
];

const ownerColumns = [
  column('master_id_value', 'text', 'The master id that the row names; null when 0 or missing.'),
  column('master_uuid_value', 'text', 'The master uuid that the row names.'),
  column('parent_table', 'text', 'The table that a row without master columns hangs on.'),
  column('parent_column', 'text', 'The column of that table that is referred to.'),
  column('parent_value', 'text', 'The value of the reference to the parent row.'),
];

/** `stg_tributary__events`: one row per version of an event. */
export const eventColumns: readonly SharedColumn[] = [
  ...originColumns,
  ...changeColumns,
  ...ownerColumns,
  column('actor_table', 'text', 'The table that the actor is looked up in.'),
  column('actor_column', 'text', 'The column that the actor is looked up by.'),
  column('actor_value', 'text', 'Who acted, as the event says it.'),
  column('tenant_table', 'text', 'The table that the tenant is looked up in.'),
  column('tenant_column', 'text', 'The column that the tenant is looked up by.'),
  column(
    'tenant_value',
    'text',
    'The tenant, as the event says it; null when the value means none.',
  ),
  column('event_type', 'text', 'The type as the source spells it.'),
  column('occurred_at', 'moment', 'When it happened in the world. UTC.'),
  column('status', 'text', 'The status column of the source.'),
  column('payload', 'text', 'The payload as JSON text.'),
  column('metadata', 'text', 'The metadata as JSON text.'),
  column('entity_type', 'text', 'What kind of thing the event is about.'),
  column('entity_id', 'text', 'Which thing the event is about.'),
  column(
    'previous_hash',
    'text',
    'The hash of the entry before, where the source chains its entries.',
  ),
  column('entry_hash', 'text', 'The hash of this entry, where the source chains its entries.'),
  column(
    'amount',
    'amount',
    'The amount of money or points, where the table has one; null where it is no number (NaN).',
  ),
];

/** `stg_tributary__row_changes`: one row per change of a table that is not an event table. */
export const rowChangeColumns: readonly SharedColumn[] = [
  ...originColumns,
  ...changeColumns,
  ...ownerColumns,
  column(
    'changed_columns',
    'text',
    'Names of the columns that an update changed, joined by commas.',
  ),
  column(
    'before_image',
    'text',
    'The row before, as a JSON object of texts; long values by length and hash, masked columns hashed, denied ones absent.',
  ),
  column(
    'after_image',
    'text',
    'The row after, as a JSON object of texts; long values by length and hash, masked columns hashed, denied ones absent.',
  ),
];

/** `stg_tributary__master_changes`: one row per change of the master table. */
export const masterChangeColumns: readonly SharedColumn[] = [
  ...originColumns,
  ...changeColumns,
  column('master_key', 'text', 'The master id as text.'),
  column('master_uuid', 'text', 'The uuid of the master.'),
  column('master_type', 'text', 'The kind of thing that the master stands for.'),
  column('master_name', 'text', 'The name of the master.'),
  column('created_at', 'moment', 'When the source says that the master was created. UTC.'),
  column('updated_at', 'moment', 'When the source says that the master was last updated. UTC.'),
  column(
    'changed_columns',
    'text',
    'Names of the columns that an update changed, joined by commas.',
  ),
];

/** `stg_tributary__lookups`: one row per change of a row that other rows are looked up in. */
export const lookupColumns: readonly SharedColumn[] = [
  ...originColumns,
  ...changeColumns,
  ...ownerColumns,
  column('lookup_column', 'text', 'The column that values are looked up in.'),
  column('lookup_value', 'text', 'Its value as text.'),
];

/** `stg_tributary__references`: one row per change and reference column. */
export const referenceColumns: readonly SharedColumn[] = [
  ...originColumns,
  column('kind', 'text', 'master, entity or event.'),
  ...changeColumns,
  ...ownerColumns,
  column('source_column', 'text', 'The column that refers.'),
  column(
    'target_table',
    'text',
    'The table referred to; null for a reference whose table another column names.',
  ),
  column('target_column', 'text', 'The column referred to.'),
  column('target_type', 'text', 'The value that names the table, for a reference without one.'),
  column('target_value', 'text', 'The value of the reference.'),
  column('is_declared', 'boolean', 'True for a foreign key of the catalog.'),
];

/** `stg_tributary__tables`: one row per mapped table. */
export const tableColumns: readonly SharedColumn[] = [
  ...originColumns.slice(0, 3),
  column('kind', 'text', 'master, entity or event.'),
  column('has_key', 'boolean', 'False for a table without a primary key.'),
];

/** `stg_tributary__watermarks`: one row per published cut of the lake. */
export const watermarkColumns: readonly SharedColumn[] = [
  column('cut', 'text', 'The position that the lake is complete up to.'),
  column('committed_at', 'moment', 'Commit time of the newest transaction below the cut. UTC.'),
];
