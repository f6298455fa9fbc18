import pc from 'picocolors';
import { closeSession, openSession } from '../capture/postgres/connection.ts';
import { preflight, type Finding } from '../capture/postgres/preflight.ts';
import { errorPolicies } from '../runtime/errors.ts';
import { defineCommand } from './command.ts';

export const checkCommand = defineCommand({
  description: [
    'Examines the source: server settings, role, publication, slot and every table. Says what is',
    'missing, why it matters and the SQL that mends it. Changes nothing. Exit code 3 when capture',
    'would fail.',
  ].join('\n'),
  example: 'tributary check --config tributary.yaml',
  args: {},
  async run(context) {
    const { config } = context.open();
    const session = await openSession({ url: config.source.url });
    try {
      const findings = await preflight(session, config.source);
      context.print(context.isJson ? JSON.stringify({ findings }) : renderFindings(findings));
      return findings.some(({ severity }) => severity === 'error')
        ? errorPolicies['source-unfit'].exit
        : 0;
    } finally {
      await closeSession(session);
    }
  },
});

/** Findings for people, each with the SQL to run. */
export function renderFindings(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'The source is ready: nothing stands in the way of capture.';
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const warnings = findings.length - errors;
  return [
    ...findings.map(renderFinding),
    `${plural(errors, 'error')}, ${plural(warnings, 'warning')}`,
  ].join('\n\n');
}

function renderFinding({ severity, what, why, sql }: Finding): string {
  const mark = severity === 'error' ? pc.red('error') : pc.yellow('warning');
  const statements = sql === null ? [] : sql.split('\n').map((line) => `    ${line}`);
  return [`${mark}  ${what}`, `  ${why}`, ...statements].join('\n');
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
