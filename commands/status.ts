import { defineCommand } from './command.ts';
import { configuredLake } from './lakes/open-lake.ts';
import { readStatus } from './status/read-status.ts';
import { renderStatus } from './status/render-status.ts';

export const statusCommand = defineCommand({
  description: [
    'Shows how far each stage is behind the one before, in bytes and in time: the write-ahead log of',
    'the source, what is confirmed to it, the newest watermark of the log, what each lake has applied,',
    'and which processes load it or stand by. A stage that cannot be read is named, and its exit code',
    'is given.',
  ].join('\n'),
  example: 'tributary status --json',
  args: {},
  async run(context) {
    const { config } = context.open();
    const status = await readStatus(config, (name) => configuredLake(name, config));
    context.print(context.isJson ? JSON.stringify(status) : renderStatus(status));
    const stages = [status.source, status.log, ...Object.values(status.sinks)];
    const failed = stages.find((stage) => 'problem' in stage);
    return failed !== undefined && 'problem' in failed ? failed.problem.exit : 0;
  },
});
