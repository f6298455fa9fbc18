import type { SinkConfig } from '../runtime/config.ts';
import { suggestion } from '../runtime/config/fields.ts';
import { formatDuration } from '../runtime/config/quantity.ts';
import type { SinkObserver } from '../sinks/run-sink.ts';
import { defineCommand, usageError } from './command.ts';
import { loadSink } from './load-sink.ts';
import { openSink } from './open-sink.ts';
import { runRole, type RoleTools } from './supervise/run-role.ts';

export const sinkCommand = defineCommand({
  description: [
    'Loads the log into one of the configured lakes, each cut in one transaction, from where the',
    'lake stopped. Ctrl-C finishes the batch under way.',
  ].join('\n'),
  example: 'tributary sink lake --config tributary.yaml',
  args: {
    name: {
      type: 'positional',
      required: true,
      description: 'name of the sink in the configuration',
    },
  },
  run: (context) =>
    runRole(context, { role: context.args.name, run: (tools) => load(context.args.name, tools) }),
});

async function load(name: string, tools: RoleTools): Promise<void> {
  const { config, signal } = tools;
  const settings = findSink(name, config.sinks);
  using opened = openSink(settings);
  const { sink, pause } = opened;
  await loadSink({ config, settings, sink, pause, observer: observer(name, tools), signal });
}

/** Throws `usage` when the configuration has no sink of this name. */
function findSink(name: string, sinks: Readonly<Record<string, SinkConfig>>): SinkConfig {
  const settings = sinks[name];
  if (settings !== undefined) return settings;
  const names = Object.keys(sinks);
  const known = suggestion(name, names) || `; there are ${names.join(', ') || 'none'}`;
  throw usageError(
    `the configuration has no sink "${name}"${known}`,
    `tributary sink ${names[0] ?? 'lake'}`,
  );
}

/** Turns what happens into metrics and the status line. */
function observer(sink: string, tools: RoleTools) {
  const { metrics, logger } = tools;
  let records = 0;
  let shownRecords = 0;
  let lagMs: number | null = null;
  tools.show(() => {
    const perSecond = records - shownRecords;
    shownRecords = records;
    const lag =
      lagMs === null || perSecond === 0
        ? ''
        : `, ${formatDuration(Math.max(0, Math.round(lagMs)))} behind`;
    return `${perSecond.toLocaleString('en-US')} records/s${lag}`;
  });
  const events = {
    onOpened({ applied, epoch }) {
      tools.setHealthy(true);
      logger.info({ epoch }, `${sink} goes on after position ${applied}`);
    },
    onApplied(report) {
      records += report.recordCount;
      lagMs = report.lagMs;
      metrics.add('sinkRecords', report.recordCount, { sink });
      metrics.add('sinkBatches', 1, { sink });
      if (report.lagMs !== null) metrics.set('sinkLag', report.lagMs / 1_000, { sink });
    },
    onRetry(error, delayMs) {
      tools.setHealthy(false);
      metrics.add('retries', 1, { role: sink });
      logger.warn(
        { kind: error.kind, hint: error.hint },
        `${error.message}; new try in ${formatDuration(delayMs)}`,
      );
    },
  } satisfies SinkObserver;
  return events;
}
