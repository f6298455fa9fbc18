import type { SinkConfig } from '../runtime/config.ts';
import { suggestion } from '../runtime/config/fields.ts';
import { formatDuration } from '../runtime/config/quantity.ts';
import type { SinkObserver } from '../sinks/run-sink.ts';
import { shareOf } from '../sinks/shares.ts';
import { runWorker, type WorkerObserver } from '../sinks/workers/run-worker.ts';
import { defineCommand, usageError } from './command.ts';
import { loadSink } from './load-sink.ts';
import { configuredLake } from './lakes/open-lake.ts';
import { loadMetrics } from './sink/load-metrics.ts';
import { runRole, type RoleTools } from './supervise/run-role.ts';

export const sinkCommand = defineCommand({
  description: [
    'Loads the log into one of the configured lakes, each cut in one transaction, from where the',
    'lake stopped. Several of one sink share its tables, or stand by where one process must have the',
    'lake, and take over within 15 s. Ctrl-C finishes the batch under way.',
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
  const lake = configuredLake(name, config);
  const { shareCount } = lake;
  const observe = observer(name, tools);
  await runWorker(
    {
      sink: name,
      shareCount,
      membership: lake.openMembership(),
      loadShare: async (share, { signal: stop, onOpened }) => {
        using counted = loadMetrics(tools.metrics, { sink: name, share });
        using opened = lake.openShare(share, counted.observer);
        await loadSink({
          config,
          settings,
          sink: opened.sink,
          pause: opened.pause,
          wants: (table) => shareOf(table, shareCount) === share,
          observer: {
            ...observe.sink,
            onOpened: (checkpoint) => {
              onOpened(checkpoint.epoch);
              observe.sink.onOpened(checkpoint);
            },
          },
          signal: stop,
        });
      },
      evict: async (gone) => {
        if (!(await lake.evict(gone))) return;
        tools.logger.warn({ pid: gone.pid }, `${name}: ended the silent process ${gone.pid}`);
      },
      limits: { giveUpAfterMs: config.retry.during },
      observer: observe.worker,
    },
    { signal },
  );
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
  let standby: string | null = null;
  tools.show(() => {
    if (standby !== null) return standby;
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
      metrics.set('sinkBehind', report.behindBytes, { sink });
      if (report.lagMs !== null) metrics.set('sinkLag', report.lagMs / 1_000, { sink });
    },
    onRetry(error, delayMs) {
      tools.setHealthy(false);
      metrics.add('retries', 1, { role: sink, kind: error.kind });
      logger.warn(
        { kind: error.kind, hint: error.hint },
        `${error.message}; new try in ${formatDuration(delayMs)}`,
      );
    },
  } satisfies SinkObserver;
  return { sink: events, worker: workerObserver(sink, tools, (text) => void (standby = text)) };
}

/** What happens among the workers of the sink; `stand` is told what a standby waits for, else null. */
function workerObserver(
  sink: string,
  tools: RoleTools,
  stand: (text: string | null) => void,
): WorkerObserver {
  const { metrics, logger } = tools;
  let shown: string | null = null;
  let unseen: string | null = null;
  let isLoading = false;
  return {
    onLook({ loading, others }) {
      unseen = null;
      isLoading = loading.length > 0;
      metrics.set('sinkShares', loading.length, { sink });
      const owners = others.filter(({ claims }) => claims.length > 0);
      const names = owners.map(({ host, pid }) => `process ${pid} on ${host}`);
      const text =
        loading.length > 0 || names.length === 0 ? null : `stands by for ${names.join(' and ')}`;
      if (text !== null) tools.setHealthy(true);
      if (text !== null && text !== shown) logger.info(`${sink} ${text}`);
      shown = text;
      stand(text);
    },
    onGone({ host, pid, claims }) {
      if (claims.length === 0) return;
      metrics.add('sinkTakeovers', 1, { sink });
      logger.warn(
        { host, pid },
        `${sink}: process ${pid} on ${host} is gone; its tables are taken over`,
      );
    },
    onFenced(share, error) {
      logger.warn({ share }, `${error.message}; this process stands by`);
    },
    onUnseen(error) {
      if (!isLoading) tools.setHealthy(false);
      if (unseen !== error.message)
        logger.warn({ kind: error.kind, hint: error.hint }, error.message);
      unseen = error.message;
    },
  };
}
