import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pc from 'picocolors';
import { PipelineError } from '../runtime/errors.ts';
import { type CommandContext, defineCommand, usageError } from './command.ts';
import { type Demo, runDemo } from './demo/run-demo.ts';
import { createStages } from './demo/stages.ts';
import { runTraffic } from './demo/traffic.ts';

const args = {
  seconds: {
    type: 'string',
    valueHint: 'N',
    default: '20',
    description: 'how long traffic is written',
  },
  seed: {
    type: 'string',
    valueHint: 'N',
    default: '7',
    description: 'the same seed makes the same business',
  },
  dir: {
    type: 'string',
    valueHint: 'DIR',
    default: 'data/demo',
    description: 'where its files go; emptied first',
  },
  stay: { type: 'boolean', description: 'keep everything running until Ctrl-C' },
} as const;

const projectRoot = fileURLToPath(new URL('..', import.meta.url));
const transactionsPerSecond = 120;
const stayTransactionsPerSecond = 10;

export const demoCommand = defineCommand({
  description: [
    'The whole job on embedded parts: a PostgreSQL with a sample business, snapshot and stream while',
    'traffic is written, the DuckDB lake, the models, and a comparison of source and lake value for',
    'value. Exit code 0 only if that found no difference.',
  ].join('\n'),
  example: 'tributary demo --seconds 60 --stay',
  args,
  async run(context) {
    const dir = path.resolve(context.args.dir);
    const [seconds, seed] = [
      wholeNumber(context.args.seconds, 'seconds'),
      wholeNumber(context.args.seed, 'seed'),
    ];
    const signal = context.drainSignal();
    // Standard output is for the answer, which in JSON is one document.
    const stream = context.isJson ? process.stderr : process.stdout;
    const title = `${pc.bold('Tributary')}: PostgreSQL → log → DuckDB → lineage and features`;
    stream.write(`${title} ${pc.dim(`(seed ${seed}, ${dir})`)}\n\n`);
    using stages = createStages(stream);
    await using demo = await runDemo({
      dir,
      projectRoot,
      seconds,
      seed,
      transactionsPerSecond,
      stages,
      signal,
      withModels: context.args.stay === true,
    });
    if (context.isJson) context.print(JSON.stringify({ dir, ...demo.report }));
    // Not through the redacting printer: the password of a throw-away server is there to be used.
    else stream.write(`${demo.summary}\n${whatNext(dir, demo, context.args.stay === true)}\n`);
    if (demo.report.differences > 0) {
      throw new PipelineError(
        'differences-found',
        `${demo.report.differences} differences between source and lake`,
      );
    }
    if (context.args.stay) await stay(context, demo, signal);
  },
});

/** Goes on writing and loading, models included, until the signal. */
async function stay(
  context: CommandContext<typeof args>,
  demo: Demo,
  signal: AbortSignal,
): Promise<void> {
  context.print('\nStill running, with new traffic, and models every minute, until Ctrl-C.');
  const { client, business } = demo;
  const [seconds, rate] = [Number.MAX_SAFE_INTEGER, stayTransactionsPerSecond];
  const traffic = runTraffic({ client, business, seconds, transactionsPerSecond: rate, signal });
  await Promise.race([traffic, demo.pipelineEnded]);
}

function whatNext(dir: string, demo: Demo, isStaying: boolean): string {
  const relative = path.relative(process.cwd(), dir) || '.';
  const here = relative.startsWith('..') ? dir : relative;
  const file = path.join(here, 'tributary.yaml');
  const { report } = demo;
  const rows = report.tables
    .reduce((sum, table) => sum + table.lakeRows, 0)
    .toLocaleString('en-US');
  return [
    `\n${pc.bold('Verified')}`,
    `${rows} live rows in ${report.tables.length} tables, every value, as of LSN ${report.lsn}: ${report.differences === 0 ? pc.green('source and lake are equal') : pc.red(`${report.differences} differences`)}`,
    `\n${pc.bold('Files')}`,
    `${here}: lake.duckdb and log in ${path.join(here, 'data')}, tributary.yaml, mapping.yaml, tributary.sql, tributary.log`,
    `\n${pc.bold('Next')}`,
    // The server's port and password are those of this run: without --stay they are of no use to anybody.
    ...(isStaying
      ? [
          'in another terminal:',
          `  export DATABASE_URL=${demo.url}`,
          `  npm start -- status --config ${file}`,
          `  npm start -- tail public.service_event --config ${file}`,
          `  npm start -- verify --config ${file}`,
        ]
      : [
          'npm start -- --stay                       the same, then keeps running: to try status, tail and verify on',
        ]),
    'npm start -- init --source postgres://…   reads your own database',
  ].join('\n');
}

function wholeNumber(text: string, name: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw usageError(
    `--${name} takes a whole number above 0, not "${text}"`,
    'npm start -- demo --help',
  );
}
