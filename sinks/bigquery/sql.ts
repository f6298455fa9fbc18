import type { LakeColumn, TableLayout, VersionColumn, VersionLayout } from '../lake/layout.ts';
import type { LakeNames } from '../sink.ts';
import { isDocument } from './column-policy.ts';
import { stagedType } from './encode.ts';

/** No name that reaches it has a backtick: `schema.ts` refuses those. */
export const quoteName = (name: string): string => `\`${name}\``;
export const quoteText = (text: string): string =>
  `'${text
    .replaceAll('\\', '\\\\')
    .replaceAll("'", "\\'")
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')}'`;

/** What a staged row is for: a sum of these, in column `_to`. */
export const toChanges = 1;
export const toState = 2;
export const toDeleted = 4;
export const toRemoved = 8;

export interface TableField {
  readonly name: string;
  readonly type: string;
  readonly mode?: 'REPEATED';
}

const field = (name: string, type: string): TableField => ({ name, type });
const namesField = (name: string): TableField => ({ name, type: 'STRING', mode: 'REPEATED' });

const changesMeta: readonly TableField[] = [
  field('_cdc_op', 'STRING'),
  field('_cdc_seq', 'STRING'),
  field('_cdc_lsn', 'STRING'),
  field('_cdc_xid', 'INT64'),
  field('_cdc_committed_at', 'TIMESTAMP'),
  field('_cdc_captured_at', 'TIMESTAMP'),
  field('_cdc_loaded_at', 'TIMESTAMP'),
  field('_cdc_topic', 'STRING'),
  field('_cdc_partition', 'INT64'),
  field('_cdc_offset', 'INT64'),
  field('_cdc_schema_id', 'INT64'),
  namesField('_cdc_unchanged'),
  field('_cdc_exact', 'STRING'),
  field('_cdc_batch_id', 'STRING'),
];
const stateMeta: readonly TableField[] = [
  field('_cdc_seq', 'STRING'),
  field('_cdc_deleted', 'BOOL'),
  field('_cdc_committed_at', 'TIMESTAMP'),
  field('_cdc_schema_id', 'INT64'),
  field('_cdc_exact', 'STRING'),
];

const fieldsOf = (columns: readonly LakeColumn[]): readonly TableField[] =>
  columns.map(({ physical, type }) => field(physical, type));
export const changesFields = (columns: readonly LakeColumn[]): readonly TableField[] => [
  ...fieldsOf(columns),
  ...changesMeta,
];
export const stateFields = (columns: readonly LakeColumn[]): readonly TableField[] => [
  ...fieldsOf(columns),
  ...stateMeta,
];

/** Columns of a staging table: values, values of the row that unchanged columns come from, and the origin. */
export function stageFields(layout: VersionLayout): readonly TableField[] {
  return [
    ...layout.columns.map(({ lakeType }, index) => field(stagedName(index), stagedType(lakeType))),
    ...keysOf(layout).map(({ index, column }) =>
      field(baseName(index), stagedType(column.lakeType)),
    ),
    field('_to', 'INT64'),
    field('_n', 'INT64'),
    field('_copies', 'INT64'),
    field('_op', 'STRING'),
    field('_seq', 'STRING'),
    field('_lsn', 'STRING'),
    field('_xid', 'INT64'),
    field('_committed', 'TIMESTAMP'),
    field('_captured', 'TIMESTAMP'),
    field('_place', 'INT64'),
    field('_offset', 'INT64'),
    field('_exact', 'STRING'),
    field('_base_exact', 'STRING'),
    namesField('_unchanged'),
    namesField('_fill'),
  ];
}

export const stagedName = (index: number): string => `c${index}`;
export const baseName = (index: number): string => `b${index}`;

/** The key's columns with their places in the row. */
export function keysOf(
  layout: VersionLayout,
): readonly { readonly index: number; readonly column: VersionColumn }[] {
  return layout.columns.flatMap((column, index) => (column.isKey ? [{ index, column }] : []));
}

export const relation = (dataset: string, name: string): string =>
  `${quoteName(dataset)}.${quoteName(name)}`;
export const changesOf = ({ schema, changes }: LakeNames): string => relation(schema, changes);
export const stateOf = ({ schema, state }: LakeNames): string => relation(schema, state);

/** View `T`: the live rows, with the source's names in the source's order. */
export function viewQuery(names: LakeNames, layout: TableLayout): string {
  const columns = layout.live.map(
    ({ name, physical }) => `${quoteName(physical)} as ${quoteName(name)}, `,
  );
  return /* sql */ `select ${columns.join('')}_cdc_seq, _cdc_committed_at
    from ${stateOf(names)} where not _cdc_deleted`;
}

export const viewSql = (names: LakeNames, query: string): string =>
  `create or replace view ${relation(names.schema, names.view)} as ${query}`;

/** One statement, so one change of the table's metadata, however many columns. */
export function addColumnsSql(table: string, columns: readonly LakeColumn[]): string {
  const adds = columns.map(
    ({ physical, type }) => `add column if not exists ${quoteName(physical)} ${type}`,
  );
  return `alter table ${table} ${adds.join(', ')}`;
}

export const widenColumnSql = (table: string, physical: string, type: string): string =>
  `alter table ${table} alter column ${quoteName(physical)} set data type ${type}`;

/** A column that came later, and what rows that exist read in it. */
export interface FilledColumn {
  readonly column: LakeColumn;
  /** Exact text of a constant that the column cannot hold. */
  readonly exact: string | null;
}

/** The exact texts of a row with those of these columns beside them. */
function filledExactSql(exacts: string, fills: readonly FilledColumn[]): string {
  const members = fills.flatMap(({ column, exact }) =>
    exact === null ? [] : [JSON.stringify({ [column.physical]: exact }).slice(1, -1)],
  );
  if (members.length === 0) return exacts;
  const added = members.join(',');
  return /* sql */ `coalesce(concat(substr(${exacts}, 1, length(${exacts}) - 1), ${quoteText(`,${added}}`)}),
      ${quoteText(`{${added}}`)})`;
}

/** Rows that exist read the constants of columns that came later, with their exact texts beside them. */
export function fillMissingSql(names: LakeNames, fills: readonly FilledColumn[]): string {
  const sets = fills.map(
    ({ column }) => `${quoteName(column.physical)} = ${column.missing ?? 'null'}`,
  );
  if (fills.some(({ exact }) => exact !== null))
    sets.push(`_cdc_exact = ${filledExactSql('_cdc_exact', fills)}`);
  return `update ${stateOf(names)} set ${sets.join(', ')} where true`;
}

export interface StateCopy {
  readonly from: LakeNames;
  readonly to: LakeNames;
  readonly layout: TableLayout;
  readonly fills: readonly FilledColumn[];
}

/** The live rows of one table in another one that has no rows yet. */
export function copyStateSql({ from, to, layout, fills }: StateCopy): string {
  const targets = [
    ...layout.columns.map(({ physical }) => quoteName(physical)),
    ...stateMeta.map(({ name }) => name),
  ];
  const constants = new Map(
    fills.map(({ column }) => [quoteName(column.physical), column.missing ?? 'null']),
  );
  const values = targets.map((name) =>
    name === '_cdc_exact' ? filledExactSql('_cdc_exact', fills) : (constants.get(name) ?? name),
  );
  return /* sql */ `insert into ${stateOf(to)} (${targets.join(', ')})
    select ${values.join(', ')} from ${stateOf(from)} where not _cdc_deleted`;
}

/** Only documents whose numbers a FLOAT64 holds get here: none is rounded, and none refused for its spelling. */
export const documentSql = (text: string): string =>
  `parse_json(${text}, wide_number_mode => 'round')`;

/** A staged cell as its column takes it. */
function parsed({ type, lakeType }: Pick<VersionColumn, 'type' | 'lakeType'>, cell: string) {
  if (lakeType === 'BYTES') return `from_base64(${cell})`;
  if (lakeType !== 'JSON') return cell;
  return isDocument(type.kind) ? documentSql(cell) : `parse_json(${cell})`;
}

/** A value as it can be compared, which JSON cannot be. */
const comparable = (lakeType: string, value: string): string =>
  lakeType === 'JSON' ? `to_json_string(${value})` : value;

const stagedValues = (columns: readonly VersionColumn[]): string =>
  columns.map((column, index) => `${parsed(column, `s.${stagedName(index)}`)}, `).join('');

export interface AppendOptions {
  readonly stage: string;
  readonly batchId: string;
  readonly loadedAtUs: bigint;
}

export function appendChangesSql(layout: VersionLayout, options: AppendOptions): string {
  const { columns, names, version } = layout;
  const targets = columns.map(({ physical }) => `${quoteName(physical)}, `).join('');
  const meta = changesMeta.map(({ name }) => name).join(', ');
  return /* sql */ `
    insert into ${changesOf(names)} (${targets}${meta})
    select ${stagedValues(columns)}s._op, s._seq, s._lsn, s._xid, s._committed, s._captured,
      timestamp_micros(${options.loadedAtUs}), ${quoteText(version.topic)}, s._place, s._offset,
      ${version.valueSchemaId}, s._unchanged, s._exact, ${quoteText(options.batchId)}
    from ${options.stage} as s where s._to & ${toChanges} = ${toChanges}`;
}

/** JSON path of an object's member. https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#JSONPath_format */
const memberPath = (name: string): string =>
  quoteText(`$."${name.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`);
const memberOf = (json: string, name: string): string => `json_value(${json}, ${memberPath(name)})`;

interface Sides {
  readonly left: string;
  /** The key's value on the right, as the lake's column takes it. */
  readonly right: (index: number, column: VersionColumn) => string;
  readonly rightExact: string;
}

/** Rows of one key. Keys that no column holds (numeric NaN) are compared by their exact text as well. */
function keyMatchSql(layout: VersionLayout, hasExactKeys: boolean, sides: Sides): string {
  const { left, right, rightExact } = sides;
  const parts = keysOf(layout).flatMap(({ index, column }) => {
    const { physical, lakeType } = column;
    const pair = [`${left}.${quoteName(physical)}`, right(index, column)].map((side) =>
      comparable(lakeType, side),
    );
    // NaN equals itself only there.
    const isNullSafe = hasExactKeys || lakeType === 'FLOAT64';
    const same = pair.join(isNullSafe ? ' is not distinct from ' : ' = ');
    if (!hasExactKeys) return [same];
    const exact = [`${left}._cdc_exact`, rightExact].map((json) => memberOf(json, physical));
    return [same, exact.join(' is not distinct from ')];
  });
  return parts.join(' and ');
}

/** Removes what a truncate, or a newer table of the same name, left behind. */
export const applyFloorSql = (names: LakeNames, floor: string): string =>
  `delete from ${stateOf(names)} where _cdc_seq < ${quoteText(floor)}`;

export interface StateMerge {
  readonly stage: string;
  /** Nothing below it may enter. */
  readonly floor: string | null;
  /** A key column of some row is NULL beside an exact text. */
  readonly hasExactKeys: boolean;
  /** Indices of columns that some row takes from the row as it was before the batch. */
  readonly filled: readonly number[];
}

function rowsForState({ floor }: StateMerge): string {
  const conditions = [`s._to & ${toState} = ${toState}`];
  if (floor !== null) conditions.push(`s._seq >= ${quoteText(floor)}`);
  return conditions.join(' and ');
}

/** The staged rows for the state as its columns take them, physical names given. */
function stateRowsSql(layout: VersionLayout, merge: StateMerge): string {
  const { columns, later, version } = layout;
  const cells = columns.map((column, index) => {
    const { physical } = column;
    const cell = parsed(column, `s.${stagedName(index)}`);
    const stored = `b.${quoteName(physical)}`;
    const isFilled = merge.filled.includes(index);
    const taken = isFilled
      ? `if(${quoteText(physical)} in unnest(s._fill), ${stored}, ${cell})`
      : cell;
    return `${taken} as ${quoteName(physical)}`;
  });
  const constants = later.map(
    ({ physical, missing }) => `${missing ?? 'null'} as ${quoteName(physical)}`,
  );
  const exacts = merge.filled.length === 0 ? 's._exact' : mergedExactSql(layout, merge.filled);
  const constantExacts = later.map((column) => ({ column, exact: column.missingExact ?? null }));
  const own = [
    's._seq as _cdc_seq',
    `s._to & ${toDeleted} = ${toDeleted} as _cdc_deleted`,
    's._committed as _cdc_committed_at',
    `${version.valueSchemaId} as _cdc_schema_id`,
    `${filledExactSql(exacts, constantExacts)} as _cdc_exact`,
  ];
  const base: Sides = {
    left: 'b',
    right: (index, column) => parsed(column, `s.${baseName(index)}`),
    rightExact: 's._base_exact',
  };
  const join =
    merge.filled.length === 0
      ? ''
      : `left join ${stateOf(layout.names)} as b
          on array_length(s._fill) > 0 and not b._cdc_deleted
          and ${keyMatchSql(layout, merge.hasExactKeys, base)}`;
  return /* sql */ `select ${[...cells, ...constants, ...own].join(', ')}
    from ${merge.stage} as s ${join} where ${rowsForState(merge)}`;
}

/**
 * Own exact texts, and those of the columns that are taken from the stored row: a filled column has no
 * text of its own. Only columns that some row fills are named, so wide tables make no long statement.
 */
function mergedExactSql({ columns }: VersionLayout, filled: readonly number[]): string {
  const own = `nullif(substr(s._exact, 2, length(s._exact) - 2), '')`;
  const members = columns.flatMap(({ physical }, index) => {
    if (!filled.includes(index)) return [];
    const stored = memberOf('b._cdc_exact', physical);
    const name = quoteText(`${JSON.stringify(physical)}:`);
    return [
      `if(${quoteText(physical)} in unnest(s._fill) and ${stored} is not null, concat(${name}, to_json_string(${stored})), null)`,
    ];
  });
  return `nullif(concat('{', array_to_string([${[own, ...members].join(', ')}], ','), '}'), '{}')`;
}

const stateTargets = ({ columns, later }: VersionLayout): readonly string[] => [
  ...columns.map(({ physical }) => quoteName(physical)),
  ...later.map(({ physical }) => quoteName(physical)),
  ...stateMeta.map(({ name }) => name),
];

/** The newest image of each staged key takes the place of an older one. */
export function mergeStateSql(layout: VersionLayout, merge: StateMerge): string {
  const targets = stateTargets(layout);
  const match = keyMatchSql(layout, merge.hasExactKeys, {
    left: 't',
    right: (_index, { physical }) => `s.${quoteName(physical)}`,
    rightExact: 's._cdc_exact',
  });
  return /* sql */ `
    merge into ${stateOf(layout.names)} as t using (${stateRowsSql(layout, merge)}) as s on ${match}
    when matched and t._cdc_seq < s._cdc_seq then
      update set ${targets.map((name) => `${name} = s.${name}`).join(', ')}
    when not matched then
      insert (${targets.join(', ')}) values (${targets.map((name) => `s.${name}`).join(', ')})`;
}

/** Rows of a table without a key are only added. */
export function insertStateSql(layout: VersionLayout, merge: StateMerge): string {
  return /* sql */ `
    insert into ${stateOf(layout.names)} (${stateTargets(layout).join(', ')})
    ${stateRowsSql(layout, merge)}`;
}

/**
 * Each removed image takes away as many equal rows as it has copies: the oldest, as good as any. Every
 * row of a table without a key has a position of its own, which names it.
 */
export function removeKeylessSql(layout: VersionLayout, stage: string): string {
  const equal = layout.columns.map((column, index) => {
    const { physical, lakeType } = column;
    const [left, right] = [
      `t.${quoteName(physical)}`,
      parsed(column, `r.${stagedName(index)}`),
    ].map((side) => comparable(lakeType, side));
    return `${left} is not distinct from ${right}`;
  });
  return /* sql */ `
    delete from ${stateOf(layout.names)} where _cdc_seq in (
      select victim from (
        select t._cdc_seq as victim, r._copies as copies,
          row_number() over (partition by r._n order by t._cdc_seq) as place
        from ${stage} as r
        join ${stateOf(layout.names)} as t
          on ${[...equal, 't._cdc_exact is not distinct from r._exact'].join(' and ')}
        where r._to = ${toRemoved} and not t._cdc_deleted
      ) as ranked where place <= copies
    )`;
}
