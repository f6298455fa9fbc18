import { fileURLToPath } from 'node:url';
import { buildModels, requireGood, type BuildReport } from '../models/build-models.ts';
import { loadMapping } from '../models/mapping-file.ts';
import type { Config } from '../runtime/config.ts';
import { PipelineError } from '../runtime/errors.ts';
import { createProgressLine } from '../runtime/progress-line.ts';
import { defineCommand, usageError } from './command.ts';
import { configuredLake } from './lakes/open-lake.ts';
import { isSupervised, tellSupervisor } from './supervise/child-link.ts';

const projectRoot = fileURLToPath(new URL('..', import.meta.url));

export const modelsCommand = defineCommand({
  description: [
    'Builds the lineage and feature tables in the configured lake with dbt, from what mapping.yaml',
    'says of the tables. The first time it makes the Python environment (Python 3.10 or newer).',
  ].join('\n'),
  example: 'tributary models build --full-refresh',
  args: {
    action: { type: 'positional', required: true, description: 'build' },
    'full-refresh': {
      type: 'boolean',
      description: 'build incremental models anew from the whole log',
    },
    'skip-tests': { type: 'boolean', description: 'leave the data tests out' },
  },
  async run(context) {
    const { action } = context.args;
    if (action !== 'build')
      throw usageError(`there is no action "${action}"`, 'tributary models build');
    const { config, logger } = context.open();
    const { lake, mappingPath } = modelsOf(config);
    const mapping = await loadMapping(mappingPath);
    using progress = createProgressLine({ log: (line) => logger.info(line) });
    const signal = context.drainSignal();
    const report = await lake.borrow({ purpose: 'models', signal }, () =>
      buildModels({
        projectRoot,
        ...lake.models(),
        mapping,
        fullRefresh: context.args['full-refresh'] === true,
        skipTests: context.args['skip-tests'] === true,
        signal,
        onProgress({ done, total, message }) {
          if (total === 0) logger.info(message);
          else if (!tellSupervisor({ type: 'progress', text: `${done} of ${total}: ${message}` })) {
            progress.update({ label: 'models', done, total, unit: 'models and tests' });
          }
        },
      }),
    );
    progress.end();
    const answer = context.isJson ? JSON.stringify(report) : renderReport(report);
    if (isSupervised()) logger.info(summary(report));
    else context.print(answer);
    requireGood(report);
  },
});

/** The lake that models are built in. Throws `config-invalid` without a `models` block. */
function modelsOf(config: Config) {
  const { models, sinks } = config;
  if (models !== undefined && models.sink in sinks)
    return { lake: configuredLake(models.sink, config), mappingPath: models.mapping };
  throw new PipelineError('config-invalid', 'no models are configured', {
    hint: 'add a block like `models: { sink: lake, mapping: ./mapping.yaml }`',
  });
}

/** Every model with its rows, then what failed. */
export function renderReport(report: BuildReport): string {
  const nameWidth = Math.max(0, ...report.models.map(({ name }) => name.length));
  const models = report.models
    .filter(({ rows }) => rows !== null)
    .map(
      ({ name, rows }) =>
        `  ${name.padEnd(nameWidth)}  ${(rows ?? 0).toLocaleString('en-US').padStart(12)} rows`,
    );
  const missing = report.missingTables.map((table) => `  ${table} is mapped, but not in the lake`);
  return [...models, ...missing, summary(report)].join('\n');
}

function summary({ models, tests, seconds }: BuildReport): string {
  const bad = [...models, ...tests].filter(
    ({ status }) => status === 'error' || status === 'failed',
  ).length;
  const outcome = bad === 0 ? 'all good' : `${bad} failed`;
  return `${plural(models.length, 'model')}, ${plural(tests.length, 'test')} in ${seconds.toFixed(1)} s: ${outcome}`;
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
