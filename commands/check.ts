import pc from 'picocolors';
import { readTables } from '../capture/postgres/catalog.ts';
import { closeSession, openSession, type SqlSession } from '../capture/postgres/connection.ts';
import { preflight, type Finding } from '../capture/postgres/preflight.ts';
import { readPublication } from '../capture/postgres/publication.ts';
import { compilePatterns } from '../capture/postgres/table-patterns.ts';
import type { Config } from '../runtime/config.ts';
import { errorPolicies } from '../runtime/errors.ts';
import { tableName } from '../schemas/table-schema.ts';
import { defineCommand } from './command.ts';
import type { CapturedTable } from './lakes/lake.ts';
import { configuredLake } from './lakes/open-lake.ts';

export const checkCommand = defineCommand({
  description: [
    'Examines the source: server settings, role, publication, slot and every table; and of a lake in',
    'BigQuery its place and permissions, by a write of no rows to a table that goes again. Says what is',
    'missing, why it matters and the SQL that mends it. Changes nothing. Exit code 3 when capture or',
    'loading would fail.',
  ].join('\n'),
  example: 'tributary check --config tributary.yaml',
  args: {},
  async run(context) {
    const { config } = context.open();
    const session = await openSession({ url: config.source.url });
    try {
      const lakes = await checkLakes(session, config);
      const findings = [...(await preflight(session, config.source)), ...lakes];
      context.print(context.isJson ? JSON.stringify({ findings }) : renderFindings(findings));
      return findings.some(({ severity }) => severity === 'error')
        ? errorPolicies['source-unfit'].exit
        : 0;
    } finally {
      await closeSession(session);
    }
  },
});

/** What the lakes lack, each finding with the name of its sink. */
async function checkLakes(session: SqlSession, config: Config): Promise<readonly Finding[]> {
  const publication = await readPublication(session, config.source.publication);
  const isCaptured = compilePatterns(config.source.tables);
  const published = (publication?.tables ?? []).filter((table) => isCaptured(tableName(table)));
  const catalog = await readTables(
    session,
    published.map(({ oid }) => oid),
  );
  const tables = catalog.map((table): CapturedTable => {
    return { name: tableName(table), columns: table.columns.map(({ name }) => name) };
  });
  const found = Object.entries(config.sinks).map(async ([name, settings]) => {
    const isLoaded = compilePatterns(settings.tables);
    const findings = await configuredLake(name, config).check(
      tables.filter((table) => isLoaded(table.name)),
    );
    return findings.map((finding) => ({ ...finding, what: `sink ${name}: ${finding.what}` }));
  });
  return (await Promise.all(found)).flat();
}

/** Findings for people, each with the SQL to run. */
export function renderFindings(findings: readonly Finding[]): string {
  if (findings.length === 0)
    return 'All is ready: nothing stands in the way of capture and loading.';
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const warnings = findings.length - errors;
  return [
    ...findings.map(renderFinding),
    `${plural(errors, 'error')}, ${plural(warnings, 'warning')}`,
  ].join('\n\n');
}

function renderFinding({ severity, what, why, sql }: Finding): string {
  const mark = severity === 'error' ? pc.red('error') : pc.yellow('warning');
  const statements = sql === null ? [] : `${sql};`.split('\n').map((line) => `    ${line}`);
  return [`${mark}  ${what}`, `  ${why}`, ...statements].join('\n');
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
