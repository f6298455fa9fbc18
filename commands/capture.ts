import type { CaptureEvent, CaptureOptions } from '../capture/options.ts';
import { compilePatterns } from '../capture/postgres/table-patterns.ts';
import { runCapture } from '../capture/run-capture.ts';
import type { Config } from '../runtime/config.ts';
import { formatSize } from '../runtime/config/quantity.ts';
import type { SchemaRegistry, WhenIncompatible } from '../schemas/registry.ts';
import { defineCommand } from './command.ts';
import { openLog, openRegistry } from './open-log.ts';
import { runRole, type RoleTools } from './supervise/run-role.ts';

export const captureCommand = defineCommand({
  description: [
    'Streams the changes of the source into the log, from where it stopped. The first time it',
    'makes the replication slot and reads every table beside the stream.',
    'Ctrl-C makes durable what was received; what was not comes again at the next start.',
  ].join('\n'),
  example: 'tributary capture --config tributary.yaml',
  args: {},
  run: (context) => runRole(context, { role: 'capture', run: capture }),
});

async function capture(tools: RoleTools): Promise<void> {
  const { config, logger, signal } = tools;
  const registry = await openRegistry(config, (message) => {
    logger.warn(message);
    tools.metrics.add('registryAlerts', 1);
  });
  try {
    const options = captureOptions(config, registry);
    const openOwnLog = () => openLog(config, (message) => logger.warn(message));
    const observe = observer(tools);
    await runCapture({ ...options, openLog: openOwnLog, logger, observe }, { signal });
  } finally {
    await registry.close();
  }
}

/** What the configuration says to capture, in capture's own words. */
export function captureOptions(
  config: Config,
  registry: SchemaRegistry,
): Omit<CaptureOptions, 'logger'> {
  const { source, log, capture: block, retry } = config;
  return {
    source,
    prefix: log.prefix,
    partitions: log.partitions,
    ...(log.type === 'kafka' ? { partitioning: log.partitioning } : {}),
    spoolPath: block.spool,
    transactionTopic: block.transaction_topic,
    registry,
    incompatible: incompatiblePolicy(config),
    openLog: () => openLog(config),
    limits: {
      batchBytesMax: block.batch.size,
      batchAgeMs: block.batch.age,
      inFlightBytesMax: block.pending,
      watermarkIntervalMs: block.watermark.busy,
      idleIntervalMs: block.watermark.idle,
      reconnectDelayMs: retry.first,
      reconnectDelayMsMax: retry.longest,
      giveUpAfterMs: retry.during,
    },
  };
}

/** What the configuration says of a table whose schema the registry finds incompatible. */
function incompatiblePolicy({ registry }: Config): (table: string) => WhenIncompatible | undefined {
  if (registry.type !== 'confluent') return () => undefined;
  const rules = Object.entries(registry.tables).map(([pattern, policy]) => {
    return { matches: compilePatterns([pattern]), policy };
  });
  return (table) => rules.find(({ matches }) => matches(table))?.policy ?? registry.incompatible;
}

const microsecondsPerSecond = 1_000_000;

/** Turns what happens into metrics and the status line. */
function observer(tools: RoleTools): (event: CaptureEvent) => void {
  const { metrics } = tools;
  let records = 0;
  let shownRecords = 0;
  let lag = '';
  tools.show(() => {
    const perSecond = records - shownRecords;
    shownRecords = records;
    return `${perSecond.toLocaleString('en-US')} records/s${lag}`;
  });
  return (event) => {
    switch (event.type) {
      case 'streaming':
        return tools.setHealthy(true);
      case 'appended':
        records += event.records;
        metrics.add('captureRecords', event.records);
        return metrics.add('captureBytes', event.bytes);
      case 'confirmed': {
        const bytes = Number(event.durableLsn - event.lsn);
        lag = bytes > 0 ? `, ${formatSize(bytes)} unconfirmed` : '';
        return metrics.set('captureConfirmedLag', bytes);
      }
      case 'committed':
        return metrics.set(
          'captureLag',
          Date.now() / 1_000 - Number(event.committedAtUs) / microsecondsPerSecond,
        );
      case 'spooled':
        return metrics.set('captureSpool', event.bytes);
      case 'reconnecting':
        tools.setHealthy(false);
        return metrics.add('retries', 1, { role: 'capture', kind: event.kind });
      case 'registry-waiting':
        tools.setHealthy(false);
        metrics.set('captureRegistryWait', event.waitedMs / 1_000);
        return metrics.add('retries', 1, { role: 'capture', kind: event.kind });
      case 'registry-back':
        tools.setHealthy(true);
        return metrics.set('captureRegistryWait', 0);
      case 'parked':
        return metrics.set('captureParked', event.tables);
      case 'snapshot-finished':
        return tools.logger.info('every table is read');
    }
    return event satisfies never;
  };
}
