import { compilePatterns } from '../capture/postgres/table-patterns.ts';
import { PipelineError } from '../runtime/errors.ts';
import { createProgressLine } from '../runtime/progress-line.ts';
import { defineCommand, usageError } from './command.ts';
import { configuredLake } from './lakes/open-lake.ts';
import { openLogReader } from './open-log.ts';
import { renderVerifyReport, withoutValues } from './verify/render-report.ts';
import { verifyLake } from './verify/verify-lake.ts';

export const verifyCommand = defineCommand({
  description: [
    'Compares source and lake value for value as of one LSN, while writing goes on: the sink applies',
    'exactly up to it and lends the lake meanwhile. Names the keys and columns that differ; their',
    'values only with --values. Exit code 7 when there is a difference.',
  ].join('\n'),
  example: 'tributary verify --rows 20',
  args: {
    sink: {
      type: 'string',
      valueHint: 'NAME',
      description: 'which lake; the only one unless there are more',
    },
    rows: {
      type: 'string',
      valueHint: 'N',
      default: '10',
      description: 'differing rows to show of each table',
    },
    values: { type: 'boolean', description: 'also show the values that differ' },
  },
  async run(context) {
    const { config, logger } = context.open();
    const names = Object.keys(config.sinks);
    const name = context.args.sink ?? (names.length === 1 ? names[0] : undefined);
    const settings = name === undefined ? undefined : config.sinks[name];
    if (name === undefined || settings === undefined) {
      throw usageError(
        `name the lake with --sink; there are ${names.join(', ') || 'none'}`,
        'tributary verify --sink lake',
      );
    }
    const rowsShown = Number(context.args.rows);
    if (!Number.isSafeInteger(rowsShown) || rowsShown < 0) {
      throw usageError(
        `--rows takes a whole number, not "${context.args.rows}"`,
        'tributary verify --rows 20',
      );
    }
    const signal = context.drainSignal();
    using progress = createProgressLine({ log: (line) => logger.info(line) });
    const log = await openLogReader(config);
    try {
      const { url, publication, slot, tables } = config.source;
      const [isCaptured, isLoaded] = [compilePatterns(tables), compilePatterns(settings.tables)];
      const found = await verifyLake({
        source: { url, publication, wants: (table) => isCaptured(table) && isLoaded(table) },
        slot,
        log,
        prefix: config.log.prefix,
        holdLake: configuredLake(name, config).hold(signal),
        onTable: (done, total) => progress.update({ label: 'verify', done, total, unit: 'tables' }),
        onWait: (text) => logger.info(text),
        signal,
      });
      progress.end();
      const report = context.args.values === true ? found : withoutValues(found);
      context.print(
        context.isJson ? JSON.stringify(report) : renderVerifyReport(report, rowsShown),
      );
      if (found.differences > 0) {
        const message = `source and lake differ in ${found.differences} rows as of LSN ${found.lsn}`;
        throw new PipelineError('differences-found', message);
      }
    } finally {
      await log.close();
    }
  },
});
