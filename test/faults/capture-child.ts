/** A capture in a process of its own, to be killed: `node capture-child.ts <options as JSON>`. */
import { runCapture } from '../../capture/run-capture.ts';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { openEmbeddedRegistry } from '../../log/embedded/embedded-registry.ts';
import type { CaptureLimits, SourceOptions } from '../../capture/options.ts';

export interface ChildOptions {
  readonly source: SourceOptions;
  readonly prefix: string;
  readonly logPath: string;
  readonly spoolPath: string;
  readonly limits: Partial<CaptureLimits>;
  readonly transactionTopic: boolean;
}

const options = JSON.parse(process.argv[2] ?? '{}') as ChildOptions;
const controller = new AbortController();
process.once('SIGTERM', () => controller.abort());
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const registry = await openEmbeddedRegistry({ path: options.logPath });
let rssMax = 0;
const sampler = setInterval(() => {
  rssMax = Math.max(rssMax, process.memoryUsage.rss());
}, 50);
try {
  await runCapture(
    {
      ...options,
      registry,
      openLog: () => openEmbeddedLog({ path: options.logPath }),
      logger: { info: say, warn: say, error: say },
      onSnapshot: ({ table, phase, rowsRead }) => say(`${table} ${phase} ${rowsRead}`),
      observe: (event) => {
        if (event.type === 'snapshot-finished') process.stdout.write('read\n');
      },
    },
    { signal: controller.signal },
  );
} finally {
  clearInterval(sampler);
  await registry.close();
  process.stdout.write(`rss ${rssMax}\n`);
}
