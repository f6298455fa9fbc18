import pc from 'picocolors';
import { isTableTopic } from '../capture/log-tails.ts';
import type { Config } from '../runtime/config.ts';
import { suggestion } from '../runtime/config/fields.ts';
import type { Log } from '../log/log.ts';
import type { Change, DeadLetter } from '../schemas/change.ts';
import type { SchemaRegistry } from '../schemas/registry.ts';
import { topicOf } from '../schemas/topic.ts';
import { RecordDecoder } from '../sinks/decode-record.ts';
import { TableVersions } from '../sinks/table-versions.ts';
import { defineCommand, usageError, type CommandContext } from './command.ts';
import { openLogReader, openRegistry } from './open-log.ts';
import { followTopic } from './tail/follow-topic.ts';
import { renderChange, showChange } from './tail/show-change.ts';

/** A terminal shows this much of a value; --json and pipes show all of it. */
const valueCharactersMax = 60;

export const tailCommand = defineCommand({
  description: [
    'Prints the changes of a table from the log, in commit order, as they come.',
    'With --json one object a line, values as PostgreSQL prints them.',
  ].join('\n'),
  example: 'tributary tail public.service_event --from-start --count 10',
  args: {
    table: {
      type: 'positional',
      required: true,
      description: 'schema.table, or a table of schema public',
    },
    'from-start': {
      type: 'boolean',
      description: 'begin with the oldest change that the log keeps',
    },
    count: { type: 'string', valueHint: 'N', description: 'stop after so many changes' },
  },
  async run(context) {
    const countMax = readCount(context.args.count);
    const { config } = context.open();
    await using resources = new AsyncDisposableStack();
    const log = resources.adopt(await openLogReader(config), (opened) => opened.close());
    const registry = resources.adopt(await openRegistry(config), (opened) => opened.close());
    const topic = await findTopic(log, config.log.prefix, context.args.table);
    const options = {
      topic,
      fromStart: context.args['from-start'] === true,
      signal: context.drainSignal(),
    };
    let count = 0;
    for await (const change of changesOf({ ...options, config, log, registry })) {
      context.print(render(change, context));
      count += 1;
      if (count >= countMax) return;
    }
  },
});

interface ChangesOptions {
  readonly config: Config;
  readonly log: Log;
  readonly registry: SchemaRegistry;
  readonly topic: string;
  readonly fromStart: boolean;
  readonly signal: AbortSignal;
}

async function* changesOf(options: ChangesOptions): AsyncGenerator<Change | DeadLetter> {
  const { log, registry, config } = options;
  const { prefix } = config.log;
  const versions = new TableVersions(log, prefix);
  await versions.refresh();
  const decoder = new RecordDecoder({ registry, versions, prefix });
  for await (const records of followTopic({ ...options, prefix })) {
    // A version is on the log before its first record.
    await versions.refresh();
    for (const decoded of await decoder.decode(records)) if (decoded !== null) yield decoded;
  }
}

function render(
  change: Change | DeadLetter,
  context: Pick<CommandContext, 'isJson' | 'isTerminal'>,
): string {
  if ('reason' in change) {
    const { topic, partition, offset, reason } = change;
    const letter = { topic, partition, offset, reason };
    return context.isJson
      ? JSON.stringify({ undecodable: letter })
      : pc.red(`${topic}/${partition} offset ${offset}: ${reason}`);
  }
  const shown = showChange(change);
  if (context.isJson) return JSON.stringify(shown);
  return colour(shown.op)(
    renderChange(shown, context.isTerminal ? valueCharactersMax : Number.POSITIVE_INFINITY),
  );
}

function readCount(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw usageError(`"${text}" is not a count`, 'tributary tail public.orders --count 10');
}

async function findTopic(log: Log, prefix: string, words: string): Promise<string> {
  const [, schema = 'public', name = words] = /^([^.]+)\.(.+)$/s.exec(words) ?? [];
  const topic = topicOf(prefix, schema, name);
  const topics = await log.ranges();
  if (topics.has(topic)) return topic;
  const tables = [...topics.keys()]
    .filter((other) => isTableTopic(prefix, other))
    .map((other) => other.slice(prefix.length + 1));
  const table = `${schema}.${name}`;
  const near = suggestion(table, tables);
  // Beside a suggestion that is near, a table that is not would only mislead.
  const example = tables.find((other) => near.includes(`"${other}"`)) ?? tables[0];
  throw usageError(
    `the log has no table ${table}${near}`,
    `tributary tail ${example ?? 'public.orders'}`,
  );
}

function colour(op: Change['op']): (text: string) => string {
  if (op === 'd' || op === 't') return pc.red;
  return op === 'u' ? pc.yellow : pc.green;
}
