import { defineCommand } from './command.ts';
import { readCheckpoint } from './open-sink.ts';
import { readStatus } from './status/read-status.ts';
import { renderStatus } from './status/render-status.ts';

export const statusCommand = defineCommand({
  description: [
    'Shows how far each stage is: the write-ahead log of the source, what is confirmed to it, the',
    'newest watermark of the log, what each lake has applied. A stage that cannot be read is named,',
    'and its exit code is given.',
  ].join('\n'),
  example: 'tributary status --json',
  args: {},
  async run(context) {
    const { config } = context.open();
    const status = await readStatus(config, readCheckpoint);
    context.print(context.isJson ? JSON.stringify(status) : renderStatus(status));
    const stages = [status.source, status.log, ...Object.values(status.sinks)];
    const failed = stages.find((stage) => 'problem' in stage);
    return failed !== undefined && 'problem' in failed ? failed.problem.exit : 0;
  },
});
