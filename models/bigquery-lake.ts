import {
  type ChangesTable,
  changesSuffix,
  exactsOf,
  familiesOf,
  hasExacts,
  type Lake,
  type LakeNotes,
  lakeTable,
  type ModelsLake,
  type Query,
  schemaNote,
  typedColumn,
} from './lake.ts';

const threads = 8;
/** Of one query; BigQuery's own limit is six hours, in which a model that went wrong costs a lot. */
const queryTimeoutSeconds = 1800;
/** As the sink's; dbt would ask for Drive and the whole cloud as well. */
const scopes = ['https://www.googleapis.com/auth/bigquery'];

export interface BigQueryLakeOptions {
  readonly project: string;
  /** Where the sink puts everything; the models' datasets are beside it. */
  readonly dataset: string;
  /** "EU", "us-central1"; BigQuery decides when left out. */
  readonly location?: string | undefined;
  /** Another address than the service's own: an emulator, which asks for no credentials. */
  readonly endpoint?: string | undefined;
  /** Of any kind that the sink takes; the machine's own credentials when left out. */
  readonly credentialsFile?: string | undefined;
  /** Of the key that tables of models are encrypted with. */
  readonly kmsKey?: string | undefined;
  /** On every job, beside our own. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Runs SQL in the project. */
  readonly query: Query;
}

/** A BigQuery lake: all tables in one dataset, those of schema `public` as `T`, others as `schema__T`. */
export function bigqueryLake(options: BigQueryLakeOptions): ModelsLake {
  const { project, location, kmsKey } = options;
  return {
    engine: 'bigquery',
    read: (sources) => readLake(options, sources),
    async readRowCounts(schemas) {
      const counted = await Promise.all(schemas.map((dataset) => readCounts(options, dataset)));
      return new Map(counted.flat());
    },
    profile: (schema) => ({
      type: 'bigquery',
      project,
      dataset: schema,
      threads,
      priority: 'interactive',
      job_execution_timeout_seconds: queryTimeoutSeconds,
      ...(location === undefined ? {} : { location }),
      ...credentials(options),
    }),
    env: environment(options),
    vars: {
      job_labels: { ...options.labels, 'made-by': 'tributary' },
      ...(kmsKey === undefined ? {} : { kms_key: kmsKey }),
    },
  };
}

/**
 * Nothing of a file is in the profile. `oauth` means Application Default Credentials, which read every kind of
 * file as itself; `service-account` reads keys only, and `external-oauth-wif` one provider's tokens only, for
 * which it wants a secret in the profile. https://docs.getdbt.com/docs/local/connect-data-platform/bigquery-setup
 */
function credentials({ endpoint, credentialsFile }: BigQueryLakeOptions) {
  const at = endpoint === undefined ? {} : { api_endpoint: endpoint };
  return endpoint === undefined || credentialsFile !== undefined
    ? { method: 'oauth', scopes, ...at }
    : { method: 'oauth-secrets', token: 'none', job_retries: 0, ...at };
}

/**
 * The file reaches dbt by its name. With the project told, a federation is not asked for it at Resource Manager:
 * that takes a permission, and a network, that loading does without.
 * https://cloud.google.com/docs/authentication/application-default-credentials#GAC
 */
function environment({ project, credentialsFile }: BigQueryLakeOptions): Record<string, string> {
  return {
    GOOGLE_CLOUD_PROJECT: project,
    ...(credentialsFile === undefined ? {} : { GOOGLE_APPLICATION_CREDENTIALS: credentialsFile }),
  };
}

/** Counting whole tables reads no bytes. */
async function readCounts({ project, query }: BigQueryLakeOptions, dataset: string) {
  const home = `${quoted(project)}.${quoted(dataset)}`;
  const tables = await query(/* sql */ `
    select table_name from ${home}.INFORMATION_SCHEMA.TABLES where table_type = 'BASE TABLE'`);
  if (tables.length === 0) return [];
  const selects = tables.map(
    ([table = '']) => `select ${quoteText(table)}, count(*) from ${home}.${quoted(table)}`,
  );
  const rows = await query(selects.join('\nunion all\n'));
  return rows.map(([table, count]) => [`${dataset}.${table}`, Number(count)] as const);
}

/** The name of a source table's relations in the dataset, before `__changes`. */
function storedName(source: string): string {
  const at = source.indexOf('.');
  const [schema, table] = [source.slice(0, at), source.slice(at + 1)];
  return schema === 'public' ? table : `${schema}__${table}`;
}

async function readLake(
  { project, dataset, query }: BigQueryLakeOptions,
  sources: readonly string[],
): Promise<Lake> {
  const home = `${quoted(project)}.${quoted(dataset)}`;
  const rows = await query(/* sql */ `
    select table_name, column_name, data_type
    from ${home}.INFORMATION_SCHEMA.COLUMNS
    where ends_with(table_name, '${changesSuffix}') or starts_with(table_name, '_tributary_')
    order by table_name, ordinal_position`);
  const held = Map.groupBy(rows, ([table = '']) => table);
  const columnsOf = (table: string) =>
    (held.get(table) ?? []).map(([, name = '', type = '']) => typedColumn(name, type, 'bigquery'));
  const changes = sources.flatMap((source): readonly ChangesTable[] => {
    const stored = { schema: dataset, changes: `${storedName(source)}${changesSuffix}` };
    const columns = columnsOf(stored.changes);
    if (!columns.some(({ name }) => name === '_cdc_seq')) return [];
    const at = source.indexOf('.');
    return [{ schema: source.slice(0, at), name: source.slice(at + 1), stored, columns }];
  });
  const cut = await readCut(query, home, [...held.keys()]);
  const notes: LakeNotes = {
    exacts: await readExacts(query, home, changes),
    history: held.has('_tributary_schema_history') ? await readHistory(query, home) : [],
    ...cut,
  };
  const watermarks = columnsOf('_tributary_watermarks');
  return {
    tables: changes.map((table) => lakeTable(table, notes)),
    watermarks:
      watermarks.length === 0 ? null : { schema: dataset, columns: familiesOf(watermarks), ...cut },
  };
}

/**
 * The lake goes on while models are built, its shares each at their own pace, and streamed changes are
 * there before they are published: models are of the position that all shares have applied.
 */
async function readCut(
  query: Query,
  home: string,
  held: readonly string[],
): Promise<{ readonly cut?: string }> {
  const checkpoints = held.filter((table) => /^_tributary_checkpoints(_\d+)?$/.test(table));
  if (checkpoints.length === 0) return {};
  const selects = checkpoints.map((table) => `select applied from ${home}.${quoted(table)}`);
  const rows = await query(`select min(applied) from (${selects.join(' union all ')})`);
  const [[cut = ''] = []] = rows;
  return { cut };
}

async function readExacts(
  query: Query,
  home: string,
  tables: readonly ChangesTable[],
): Promise<LakeNotes['exacts']> {
  const selects = tables.filter(hasExacts).map(({ schema, name, stored, columns }) => {
    const isJson = columns.some((one) => one.name === '_cdc_exact' && one.family === 'json');
    const object = isJson
      ? '_cdc_exact'
      : `safe.parse_json(_cdc_exact, wide_number_mode => 'round')`;
    return /* sql */ `select distinct ${quoteText(schema)}, ${quoteText(name)}, exact_column
      from ${home}.${quoted(stored.changes)}, unnest(json_keys(${object}, 1)) as exact_column
      where _cdc_exact is not null`;
  });
  const rows = selects.length === 0 ? [] : await query(selects.join('\nunion all\n'));
  return exactsOf(rows.map(([schema = '', table = '', key = '']) => [schema, table, keyName(key)]));
}

/** JSON_KEYS puts names that are no plain words in double quotes, as in a path. */
function keyName(key: string): string {
  return key.startsWith('"') ? (JSON.parse(key) as string) : key;
}

/** What the lake noted of its tables' shapes, oldest first. */
async function readHistory(query: Query, home: string): Promise<LakeNotes['history']> {
  const rows = await query(/* sql */ `
    select schema_name, table_name, layout, format_timestamp('%F %H:%M:%E6S', recorded_at)
    from ${home}._tributary_schema_history order by from_seq`);
  return rows.map(schemaNote);
}

const quoted = (name: string): string => `\`${name}\``;
const quoteText = (text: string): string =>
  `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
