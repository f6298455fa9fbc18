import { DuckDBInstance } from '@duckdb/node-api';
import { encodeValue } from '../../sinks/bigquery/encode.ts';
import { type BigQueryServer, loadRows, runQuery } from '../support/local-bigquery/rest.ts';

/** Enough rows for a test's tables, small enough for one request. */
const rowsPerLoad = 5_000;

interface Column {
  readonly name: string;
  readonly type: string;
}

export interface Target {
  readonly server: BigQueryServer;
  readonly dataset: string;
  /** Documents are JSON, as a sink of `columns: { json: json }` keeps them; STRING when left out. */
  readonly hasJson?: boolean;
}

/**
 * Puts what a DuckDB lake holds into a dataset, in the names and types that the BigQuery sink has for
 * them. What BigQuery's types cannot hold (infinite times) has to be in `_cdc_exact` already.
 */
export async function copyLake(file: string, target: Target): Promise<void> {
  const instance = await DuckDBInstance.create(file, { access_mode: 'READ_ONLY' });
  const connection = await instance.connect();
  const read = async (sql: string) => (await connection.runAndReadAll(sql)).getRows();
  try {
    const columns = await read(/* sql */ `
      select table_schema, table_name, column_name, data_type from information_schema.columns
      where table_catalog = current_database()
        and (ends_with(table_name, '__changes') or starts_with(table_name, '_tributary_'))
      order by table_schema, table_name, ordinal_position`);
    const tables = Map.groupBy(columns, ([schema, table]) => JSON.stringify([schema, table]));
    for (const [key, own] of tables) {
      const [schema, table] = JSON.parse(key) as [string, string];
      const typed = own.map(([, , name, type]) => ({ name: String(name), type: String(type) }));
      const documents = typed.filter((column) => target.hasJson === true && isDocument(column));
      const list = typed.map((column) => `${valueSql(column)} as "${column.name}"`).join(', ');
      const rows = await read(/* sql */ `
        select to_json(r)::varchar from (select ${list} from "${schema}"."${table}") as r`);
      const isDefault = schema === 'public' || schema === 'tributary';
      const name = isDefault ? table : `${schema}__${table}`;
      await fill(
        target,
        { name, columns: typed, documents },
        rows.map(([row]) => withDocuments(JSON.parse(String(row)) as CopiedRow, documents)),
      );
    }
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
  readonly documents: readonly Column[];
}

type CopiedRow = Readonly<Record<string, unknown>>;

const isDocument = ({ name, type }: Column) => type === 'JSON' && !name.startsWith('_cdc_');

/** As the sink writes documents: in their column as far as they fit, with their text beside them where it is needed. */
function withDocuments(row: CopiedRow, documents: readonly Column[]): CopiedRow {
  const copied: Record<string, unknown> = { ...row };
  const { _cdc_exact: stored } = row;
  const exacts = (typeof stored === 'string' ? JSON.parse(stored) : {}) as Record<string, string>;
  for (const { name } of documents) {
    if (typeof row[name] !== 'string') continue;
    const { cell, exact } = encodeValue({ kind: 'jsonb' }, row[name], 'JSON');
    copied[name] = cell;
    if (exact !== null) exacts[name] = exact;
  }
  if (Object.keys(exacts).length > 0) copied['_cdc_exact'] = JSON.stringify(exacts);
  return copied;
}

/**
 * JSON and bytes go in as text and are read from it there: the emulator loads no array with a null in it,
 * and base64 as it stands.
 */
async function fill(target: Target, table: Table, rows: readonly CopiedRow[]): Promise<void> {
  const { server, dataset } = target;
  const { name, columns, documents } = table;
  const typeOf = (column: Column) => (documents.includes(column) ? 'json' : bigqueryType(column));
  await createTable(target, table, typeOf);
  const loaded = `${name}__loaded`;
  const loadedType = (column: Column) => typeOf(column).replace(/^(json|bytes)$/, 'string');
  await createTable(target, { name: loaded, columns }, loadedType);
  for (let at = 0; at < rows.length; at += rowsPerLoad) {
    await loadRows(server, { dataset, name: loaded }, rows.slice(at, at + rowsPerLoad));
  }
  const list = columns.map((column) => {
    const quoted = `\`${column.name}\``;
    const type = typeOf(column);
    if (type === 'bytes') return `from_base64(${quoted})`;
    return type === 'json' ? `parse_json(${quoted})` : quoted;
  });
  const from = `\`${dataset}\`.\`${loaded}\``;
  await runQuery(
    server,
    `insert into \`${dataset}\`.\`${name}\` select ${list.join(', ')} from ${from}`,
  );
  await runQuery(server, `drop table ${from}`);
}

async function createTable(
  { server, dataset }: Target,
  { name, columns }: Pick<Table, 'name' | 'columns'>,
  typeOf: (column: Column) => string,
): Promise<void> {
  const list = columns.map((column) => `\`${column.name}\` ${typeOf(column)}`).join(', ');
  await runQuery(server, `create table if not exists \`${dataset}\`.\`${name}\` (${list})`);
}

const isList = ({ name, type }: Column) => name === '_cdc_unchanged' && type.endsWith('[]');

/** As `schemas/type-mapping.ts` has it, by way of DuckDB's types. */
function bigqueryType(column: Column): string {
  const { type } = column;
  if (isList(column)) return 'array<string>';
  if (type.endsWith(']')) return 'json';
  const decimal = /^DECIMAL\((\d+),(\d+)\)$/.exec(type);
  if (decimal !== null) {
    const [whole, scale] = [Number(decimal[1]) - Number(decimal[2]), Number(decimal[2])];
    return scale <= 9 && whole <= 29 ? 'numeric' : 'bignumeric';
  }
  if (/^U?(TINY|SMALL|BIG)?INT(EGER)?$/.test(type)) return 'int64';
  return others[type] ?? 'string';
}

const others: Readonly<Record<string, string>> = {
  BOOLEAN: 'bool',
  DOUBLE: 'float64',
  FLOAT: 'float64',
  BLOB: 'bytes',
  DATE: 'date',
  TIME: 'time',
  TIMESTAMP: 'datetime',
  'TIMESTAMP WITH TIME ZONE': 'timestamp',
};

/** A value as a load of newline-delimited JSON takes it. */
function valueSql(column: Column): string {
  const name = `"${column.name.replaceAll('"', '""')}"`;
  const type = bigqueryType(column);
  if (isList(column)) return `coalesce(${name}, [])`;
  if (type === 'timestamp') return `strftime(${name} at time zone 'UTC', '%Y-%m-%d %H:%M:%S.%f')`;
  if (type === 'datetime') return `strftime(${name}, '%Y-%m-%dT%H:%M:%S.%f')`;
  if (type === 'bytes') return `to_base64(${name})`;
  if (type === 'json') return `cast(to_json(${name}) as varchar)`;
  return type === 'bool' ? name : `cast(${name} as varchar)`;
}
