import type { DuckDBType } from '@duckdb/node-api';
import type { LakeNames } from '../sink.ts';
import type { LakeColumn, TableLayout, VersionColumn, VersionLayout } from '../lake/layout.ts';

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const textOrNull = (text: string | null): string => (text === null ? 'null' : quoteText(text));

/** The staging tables: temporary, made and dropped within a batch's transaction. */
export const stageTable = 'tributary_stage';
export const baseTable = 'tributary_stage_base';
export const removedTable = 'tributary_stage_removed';
const stage = `temp.main.${stageTable}`;
const base = `temp.main.${baseTable}`;
const removed = `temp.main.${removedTable}`;

/** What a staged row is for: a sum of these, in column `_to`. */
export const toChanges = 1;
export const toState = 2;
export const toDeleted = 4;
/** Operations by the number in column `_op`, from 1. */
export const stagedOps = ['c', 'r', 'u', 'd', 't'] as const;

export const stagedName = (index: number): string => `c${index}`;

/** No two positions are alike, but most of each is: DuckDB need not try all compressions on every row group. */
const seqType = 'varchar using compression fsst';
const changesMeta = `_cdc_op varchar, _cdc_seq ${seqType}, _cdc_lsn varchar, _cdc_xid bigint,
  _cdc_committed_at timestamptz, _cdc_captured_at timestamptz, _cdc_loaded_at timestamptz,
  _cdc_topic varchar, _cdc_partition integer, _cdc_offset bigint, _cdc_schema_id integer,
  _cdc_unchanged varchar[], _cdc_exact json, _cdc_batch_id varchar`;
const stateMeta = `_cdc_seq ${seqType}, _cdc_deleted boolean, _cdc_committed_at timestamptz,
  _cdc_schema_id integer, _cdc_exact json`;

const relation = (schema: string, name: string) => `${quoteName(schema)}.${quoteName(name)}`;
export const changesOf = ({ schema, changes }: LakeNames): string => relation(schema, changes);
export const stateOf = ({ schema, state }: LakeNames): string => relation(schema, state);

const columnList = (columns: readonly LakeColumn[]) =>
  columns.map(({ physical, type }) => `${quoteName(physical)} ${type}, `).join('');

export function createTableSql(names: LakeNames, columns: readonly LakeColumn[]): string {
  return /* sql */ `
    create schema if not exists ${quoteName(names.schema)};
    create table ${changesOf(names)} (${columnList(columns)}${changesMeta});
    create table ${stateOf(names)} (${columnList(columns)}${stateMeta})`;
}

/** View `T`: the live rows, with the source's names in the source's order. */
export function viewSql(names: LakeNames, layout: TableLayout): string {
  const columns = layout.live.map(
    ({ name, physical }) => `${quoteName(physical)} as ${quoteName(name)}, `,
  );
  return /* sql */ `
    create or replace view ${relation(names.schema, names.view)} as
    select ${columns.join('')}_cdc_seq, _cdc_committed_at
    from ${stateOf(names)} where not _cdc_deleted`;
}

/** A table whose rows were changed in the open transaction cannot be altered: it is made anew. */
export function rebuildStateSql(names: LakeNames, columns: readonly RebuiltColumn[]): string {
  const list = columns.map(({ physical, sql }) => `${sql} as ${quoteName(physical)}, `).join('');
  return /* sql */ `
    create or replace table ${stateOf(names)} as
    select ${list}_cdc_seq, _cdc_deleted, _cdc_committed_at, _cdc_schema_id, _cdc_exact
    from ${stateOf(names)}`;
}

export interface RebuiltColumn {
  readonly physical: string;
  readonly sql: string;
}

export const addColumnSql = (table: string, { physical, type }: LakeColumn): string =>
  `alter table ${table} add column ${quoteName(physical)} ${type}`;

export const widenColumnSql = (table: string, physical: string, type: string): string =>
  `alter table ${table} alter column ${quoteName(physical)} type ${type}`;

/** Notes the exact text of a missing value on every row that exists. */
export function exactForAllSql(names: LakeNames, physical: string, exact: string): string {
  const patch = quoteText(JSON.stringify({ [physical]: exact }));
  return /* sql */ `update ${stateOf(names)}
    set _cdc_exact = json_merge_patch(coalesce(_cdc_exact, '{}'::json), ${patch}::json)`;
}

/** What is special about one staged batch; the plain case needs none of it. */
export interface StageTraits {
  /** Each distinct set of unchanged columns, as indices; a staged row's `_unchanged` is its number from 1. */
  readonly unchangedSets: readonly (readonly number[])[];
  /** A key column of some row is NULL beside an exact text. */
  readonly hasExactKeys: boolean;
  readonly hasExact: boolean;
}

export interface StageColumn {
  readonly name: string;
  readonly type: string;
  /** How its cells are handed over. */
  readonly vector: DuckDBType;
}

export const createStageSql = (name: string, columns: readonly StageColumn[]): string =>
  `create or replace temp table ${name} (${columns
    .map((column) => `${column.name} ${column.type}`)
    .join(', ')})`;

export const dropStageSql = (name: string): string => `drop table if exists temp.main.${name}`;

interface AppendOptions {
  readonly batchId: string;
  readonly loadedAtUs: bigint;
}

export function appendChangesSql(
  layout: VersionLayout,
  traits: StageTraits,
  { batchId, loadedAtUs }: AppendOptions,
): string {
  const { columns, names, version } = layout;
  const targets = columns.map(({ physical }) => `${quoteName(physical)}, `).join('');
  const unchanged = traits.unchangedSets.map((set, number) => {
    const list = set.map((index) => quoteText(columns[index]?.name ?? ''));
    return `when ${number + 1} then [${list.join(', ')}]`;
  });
  const noneUnchanged = '[]::varchar[]';
  return /* sql */ `
    insert into ${changesOf(names)} (${targets}_cdc_op, _cdc_seq, _cdc_lsn, _cdc_xid,
      _cdc_committed_at, _cdc_captured_at, _cdc_loaded_at, _cdc_topic, _cdc_partition, _cdc_offset,
      _cdc_schema_id, _cdc_unchanged, _cdc_exact, _cdc_batch_id)
    select ${stagedValues(columns)}[${stagedOps.map(quoteText).join(', ')}][_op], _seq,
      printf('%X/%X', _lsn >> 32, _lsn & 4294967295), _xid, _committed, _captured,
      make_timestamptz(${loadedAtUs}), ${quoteText(version.topic)}, _partition, _offset,
      ${version.valueSchemaId},
      ${unchanged.length === 0 ? noneUnchanged : `case _unchanged ${unchanged.join(' ')} else ${noneUnchanged} end`},
      ${traits.hasExact ? '_exact' : 'null'}, ${quoteText(batchId)}
    from ${stage} where _to & ${toChanges} = ${toChanges}`;
}

const stagedValues = (columns: readonly VersionColumn[]): string =>
  columns.map(({ lakeType }, index) => `${stagedName(index)}::${lakeType}, `).join('');

/** Name of a JSON object's member for DuckDB's JSON functions. https://datatracker.ietf.org/doc/html/rfc6901 */
const jsonPointer = (name: string): string =>
  quoteText(`/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);

interface Sides {
  readonly left: string;
  readonly right: string;
  readonly rightExact: string;
}

/** Rows of one key. Keys that no column holds (numeric NaN) are compared by their exact text as well. */
function keyMatchSql(layout: VersionLayout, hasExactKeys: boolean, sides: Sides): string {
  const { left, right, rightExact } = sides;
  const parts = layout.columns.flatMap(({ physical, lakeType, isKey }, index) => {
    if (!isKey) return [];
    const pair = [`${left}.${quoteName(physical)}`, `${right}.${stagedName(index)}::${lakeType}`];
    if (!hasExactKeys) return [pair.join(' = ')];
    const exact = [`${left}._cdc_exact`, rightExact].map(
      (json) => `json_extract_string(${json}, ${jsonPointer(physical)})`,
    );
    return [pair.join(' is not distinct from '), exact.join(' is not distinct from ')];
  });
  return parts.join(' and ');
}

const stagedSides: Sides = { left: 't', right: 's', rightExact: 's._exact' };
const baseSides: Sides = { left: 't', right: 'b', rightExact: 'b._exact' };

/** Takes columns that were not sent from the row as it was before the batch. */
export function fillUnchangedSql(layout: VersionLayout, traits: StageTraits): string {
  const sets = layout.columns.flatMap((column, index) => {
    const numbers = traits.unchangedSets.flatMap((set, at) =>
      set.includes(index) ? [at + 1] : [],
    );
    if (numbers.length === 0) return [];
    const [cell, stored] = [stagedName(index), `t.${quoteName(column.physical)}`];
    return [
      `${cell} = case when s._unchanged in (${numbers.join(', ')}) then ${stored} else s.${cell} end`,
    ];
  });
  return /* sql */ `
    update ${stage} as s set ${sets.join(', ')}
    from ${base} as b, ${stateOf(layout.names)} as t
    where s._n = b._n and ${keyMatchSql(layout, traits.hasExactKeys, baseSides)}
      and not t._cdc_deleted`;
}

/** Exact texts of the rows that unchanged columns come from; nearly always none. */
export function baseExactsSql(layout: VersionLayout, traits: StageTraits): string {
  return /* sql */ `
    select b._n as n, t._cdc_exact as stored, s._exact as own, s._unchanged as unchanged
    from ${base} as b
    join ${stateOf(layout.names)} as t
      on ${keyMatchSql(layout, traits.hasExactKeys, baseSides)} and not t._cdc_deleted
    join ${stage} as s on s._n = b._n
    where t._cdc_exact is not null`;
}

export const setExactSql = (n: number, exact: string | null): string =>
  `update ${stage} set _exact = ${textOrNull(exact)} where _n = ${n}`;

/** Removes what a truncate, or a newer table of the same name, left behind. */
export const applyFloorSql = (names: LakeNames, floor: string): string =>
  `delete from ${stateOf(names)} where _cdc_seq < ${quoteText(floor)}`;

/** The older row of each staged key gives way. */
export function deleteOlderSql(layout: VersionLayout, traits: StageTraits): string {
  return /* sql */ `
    delete from ${stateOf(layout.names)} as t using ${stage} as s
    where s._to >= ${toState} and ${keyMatchSql(layout, traits.hasExactKeys, stagedSides)}
      and t._cdc_seq < s._seq`;
}

export interface InsertGuard {
  /** Nothing below it may enter. */
  readonly floor: string | null;
  /** False when every staged change is above all that is applied: no stored row can then be newer. */
  readonly mayBeStale: boolean;
}

export function insertStateSql(
  layout: VersionLayout,
  traits: StageTraits,
  guard: InsertGuard,
): string {
  const { columns, later, names, version } = layout;
  const targets = [...columns, ...later].map(({ physical }) => `${quoteName(physical)}, `).join('');
  const constants = later.map(({ missing, type }) => `(${missing ?? 'null'})::${type}, `).join('');
  const conditions = [
    `s._to >= ${toState}`,
    ...(guard.floor === null ? [] : [`s._seq >= ${quoteText(guard.floor)}`]),
    ...(guard.mayBeStale ? [notStaleSql(layout, traits)] : []),
  ];
  return /* sql */ `
    insert into ${stateOf(names)} (${targets}_cdc_seq, _cdc_deleted, _cdc_committed_at,
      _cdc_schema_id, _cdc_exact)
    select ${stagedValues(columns)}${constants}_seq, _to >= ${toDeleted}, _committed,
      ${version.valueSchemaId}, ${traits.hasExact ? '_exact' : 'null'}
    from ${stage} as s where ${conditions.join(' and ')}`;
}

function notStaleSql(layout: VersionLayout, traits: StageTraits): string {
  // A table without a key has no row that could be newer.
  if (!layout.columns.some(({ isKey }) => isKey)) return 'true';
  return /* sql */ `not exists (select 1 from ${stateOf(layout.names)} as t
    where ${keyMatchSql(layout, traits.hasExactKeys, stagedSides)})`;
}

/** Each removed image takes away one equal row: the oldest, as good as any. */
export function removeKeylessSql(layout: VersionLayout): string {
  const cells = layout.columns.map((_, index) => stagedName(index));
  const equal = layout.columns.map(
    ({ physical, lakeType }, index) =>
      `t.${quoteName(physical)} is not distinct from r.${stagedName(index)}::${lakeType}`,
  );
  return /* sql */ `
    delete from ${stateOf(layout.names)} where rowid in (
      select victim from (
        select t.rowid as victim, r.copies,
          row_number() over (partition by r.id order by t._cdc_seq, t.rowid) as place
        from (
          select ${cells.map((cell) => `${cell}, `).join('')}_exact, count(*) as copies, min(_n) as id
          from ${removed} group by all
        ) as r
        join ${stateOf(layout.names)} as t on ${[...equal, 't._cdc_exact is not distinct from r._exact'].join(' and ')}
        where not t._cdc_deleted
      ) where place <= copies
    )`;
}
