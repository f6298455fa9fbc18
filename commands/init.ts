import { existsSync } from 'node:fs';
import path from 'node:path';
import { closeSession, openSession } from '../capture/postgres/connection.ts';
import { postgresUrlProblem } from '../runtime/config/schema.ts';
import { PipelineError } from '../runtime/errors.ts';
import { type CommandContext, defineCommand, usageError } from './command.ts';
import {
  applyStatements,
  type ApplyOutcome,
  initFiles,
  type InitPlan,
  planInit,
  writeInitFiles,
} from './init/plan.ts';

const schemasShownMax = 5;

const args = {
  source: {
    type: 'string',
    valueHint: 'URL',
    description: 'the database to read; else $DATABASE_URL',
  },
  dir: {
    type: 'string',
    valueHint: 'DIR',
    default: '.',
    description: 'where to write the three files',
  },
  tables: {
    type: 'string',
    valueHint: 'PATTERNS',
    default: 'public.*',
    description: 'tables to capture, comma-separated',
  },
  role: {
    type: 'string',
    valueHint: 'NAME',
    description: 'role that will stream; else the one of the URL',
  },
  apply: { type: 'boolean', description: 'also run the SQL, as far as the role may' },
  force: { type: 'boolean', description: 'overwrite files that exist' },
} as const;

export const initCommand = defineCommand({
  description:
    'Reads a PostgreSQL database (14 or newer) and writes tributary.yaml, mapping.yaml (what the tables\nmean, for you to review) and tributary.sql (what a DBA has to run). Changes nothing without --apply.',
  example: 'tributary init --source postgres://app@db.example.org/app --dir ./pipeline',
  args,
  async run(context) {
    const url = context.args.source ?? context.env['DATABASE_URL'];
    if (url === undefined || url === '')
      throw usageError(
        'init needs a database',
        'tributary init --source postgres://role@host/database',
      );
    const problem = postgresUrlProblem(url);
    if (problem !== undefined) {
      const place = context.args.source === undefined ? '$DATABASE_URL' : '--source';
      throw usageError(
        `${place} ${problem}`,
        'tributary init --source postgres://role@host/database',
      );
    }
    const dir = path.resolve(context.args.dir);
    const existing = initFiles.filter((name) => existsSync(path.join(dir, name)));
    if (existing.length > 0 && !context.args.force) {
      const message = `${existing.join(', ')} ${existing.length > 1 ? 'exist' : 'exists'} already in ${dir}`;
      throw new PipelineError('usage', message, {
        hint: 'name another folder with --dir, or overwrite with --force',
      });
    }
    const session = await openSession({ url });
    try {
      const patterns = context.args.tables.split(',').map((pattern) => pattern.trim());
      const plan = await planInit(session, { patterns, role: context.args.role });
      await writeInitFiles(dir, plan);
      const outcome = context.args.apply ? await applyStatements(session, plan.statements) : null;
      report(context, { ...plan, dir, outcome });
    } finally {
      await closeSession(session);
    }
  },
});

function report(
  context: CommandContext<typeof args>,
  plan: InitPlan & { readonly dir: string; readonly outcome: ApplyOutcome | null },
): void {
  const tables = Object.values(plan.mapping.tables);
  const events = tables.filter((table) => table.kind === 'event').length;
  const pending = plan.outcome === null ? plan.statements.length : plan.outcome.refused.length;
  const needsRestart = plan.statements.some((statement) => statement.needsRestart);
  if (context.isJson) {
    context.print(
      JSON.stringify({
        dir: plan.dir,
        tables: tables.length,
        events,
        master: plan.mapping.master?.table ?? null,
        leftOut: Object.fromEntries(plan.leftOut),
        statements: plan.statements,
        outcome: plan.outcome,
      }),
    );
    return;
  }
  const master = plan.mapping.master?.table ?? 'none found';
  context.print(
    `Read ${tables.length} ${tables.length === 1 ? 'table' : 'tables'}: master ${master}, ${events} event ${events === 1 ? 'table' : 'tables'}.`,
  );
  for (const line of leftOutLines(plan.leftOut)) context.print(line);
  context.print(`Wrote tributary.yaml, mapping.yaml and tributary.sql in ${plan.dir}.`);
  if (plan.outcome !== null)
    context.print(`Applied ${plan.outcome.applied} of ${plan.statements.length} statements.`);
  for (const { sql, message } of plan.outcome?.refused ?? [])
    context.print(`  refused: ${sql.split('\n')[0]}: ${message}`);
  if (needsRestart) context.print('wal_level changes only with a restart of PostgreSQL.');
  context.print(['', 'Next:', ...nextSteps(plan.dir, pending)].join('\n'));
}

/** A pattern that is too narrow would be found out only when a table is missed. */
function leftOutLines(leftOut: InitPlan['leftOut']): string[] {
  if (leftOut.size === 0) return [];
  const schemas = [...leftOut].map(([schema, tables]) => `${tables} of schema ${schema}`);
  const shown = schemas.slice(0, schemasShownMax).join(', ');
  const more =
    schemas.length > schemasShownMax
      ? ` and of ${schemas.length - schemasShownMax} more schemas`
      : '';
  return [`Left out: ${shown}${more}; choose with --tables "schema.*, other.*".`];
}

function nextSteps(dir: string, pending: number): string[] {
  const relative = path.relative(process.cwd(), dir);
  const here = relative.startsWith('..') ? dir : relative;
  const steps = [
    ...(pending > 0
      ? [
          `have tributary.sql read and run (${pending} ${pending === 1 ? 'statement' : 'statements'})`,
        ]
      : []),
    'review mapping.yaml',
    'export DATABASE_URL=postgres://… (the role that streams)',
    `tributary check --config ${path.join(here, 'tributary.yaml')}`,
    `tributary run --config ${path.join(here, 'tributary.yaml')}`,
  ];
  return steps.map((step, index) => `  ${index + 1}. ${step}`);
}
