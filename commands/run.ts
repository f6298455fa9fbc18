import { fileURLToPath } from 'node:url';
import type { Config } from '../runtime/config.ts';
import { PipelineError } from '../runtime/errors.ts';
import { defineCommand } from './command.ts';
import { metricsPortVariable } from './supervise/run-role.ts';
import { createStatusLine } from './supervise/status-line.ts';
import { supervise, type RoleSpec } from './supervise/supervisor.ts';

/** Longer than a role's own grace, so that it can say itself why it did not finish. */
const childGraceMs = 40_000;
const program = fileURLToPath(new URL('../tributary.ts', import.meta.url));

export const runCommand = defineCommand({
  description: [
    'Runs capture, every sink and the models, one process each. A role that fails for a passing',
    'reason is started again; any other failure stops all of them with its exit code. Models that fail',
    'stop nothing: they are built again at their next turn.',
    'Ctrl-C finishes what is in hand, a second one stops at once.',
  ].join('\n'),
  example: 'tributary run --config tributary.yaml',
  args: {},
  async run(context) {
    using status = createStatusLine(process.stderr);
    const { config, logger } = context.open({ logStream: status.logStream });
    const roles = rolesOf(config, context.args['log-level']);
    // Before the first line: whoever reads it may send Ctrl-C at once.
    const signal = context.drainSignal();
    logger.info({ roles: roles.map(({ role }) => role) }, 'starting');
    await supervise({
      roles,
      env: context.env,
      logger,
      signal,
      graceMs: childGraceMs,
      retry: {
        firstDelayMs: config.retry.first,
        longestDelayMs: config.retry.longest,
        giveUpAfterMs: config.retry.during,
      },
      onProgress: (role, text) => status.set(role, text),
    });
    logger.info('stopped');
  },
});

/** The processes that a configuration asks for. Throws `config-invalid` when there is no sink. */
export function rolesOf(config: Config, logLevel?: string): RoleSpec[] {
  const { sinks, models, metrics, file } = config;
  if (Object.keys(sinks).length === 0) {
    throw new PipelineError(
      'config-invalid',
      'no sink is configured, so there is nothing to load',
      {
        hint: 'add a block like `sinks: { lake: { type: duckdb, path: ./data/lake.duckdb } }`, or run `tributary capture`',
      },
    );
  }
  const command = (...words: string[]): RoleSpec['command'] => {
    const level = logLevel === undefined ? [] : ['--log-level', logLevel];
    return [process.execPath, program, ...words, '--config', file, ...level];
  };
  const lasting: RoleSpec[] = [
    { role: 'capture', command: command('capture') },
    ...Object.keys(sinks).map((name) => ({ role: name, command: command('sink', name) })),
  ].map((spec, index) => ({ ...spec, env: metricsEnv(metrics.port, index) }));
  if (models === undefined) return lasting;
  return [
    ...lasting,
    { role: 'models', command: command('models', 'build'), everyMs: models.every },
  ];
}

function metricsEnv(port: number | undefined, index: number): Readonly<Record<string, string>> {
  return port === undefined ? {} : { [metricsPortVariable]: String(port + index) };
}
