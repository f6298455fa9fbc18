export interface ConfigurationChoices {
  readonly prefix: string;
  readonly publication: string;
  readonly slot: string;
  readonly tables: readonly string[];
}

/** The commented tributary.yaml that `init` writes: everything to change is on this one page. */
export function renderConfiguration(choices: ConfigurationChoices): string {
  const tables = choices.tables.map((pattern) => JSON.stringify(pattern)).join(', ');
  const models = `
models:                      # lineage and feature tables, built by dbt
  sink: lake
  every: 60 s
  mapping: ./mapping.yaml    # what the tables mean: review it
`;
  return `# Tributary: changes of one PostgreSQL database into a lake.
# Every field: tributary config --reference

source:
  url: \${DATABASE_URL}       # postgres://role@host:5432/database; secrets only from the environment or a file
  publication: ${choices.publication}
  slot: ${choices.slot}       # capture creates it
  tables: [${tables}]

log:
  type: embedded             # one SQLite file; nothing to install
  path: ./data/log
  prefix: ${choices.prefix}

sinks:
  lake:
    type: duckdb
    path: ./data/lake.duckdb
${models}`;
}
