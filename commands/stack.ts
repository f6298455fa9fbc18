import { once } from 'node:events';
import path from 'node:path';
import pc from 'picocolors';
import { defineCommand, usageError } from './command.ts';
import { createStages } from './demo/stages.ts';
import { runStack, type Stack } from './stack/run-stack.ts';

const brokersMax = 5;

export const stackCommand = defineCommand({
  description: [
    'PostgreSQL, Kafka and a schema registry on this machine, without Docker, until Ctrl-C. Writes a',
    'tributary.yaml that goes with them. Data and ports stay in the folder for the next time. Needs Java',
    '21 or newer, and Maven (mvn) for the first start, which downloads some 200 MB.',
  ].join('\n'),
  example: 'tributary stack --brokers 3',
  args: {
    dir: {
      type: 'string',
      valueHint: 'DIR',
      default: 'data/stack',
      description: 'where everything is kept',
    },
    brokers: {
      type: 'string',
      valueHint: 'N',
      default: '1',
      description: `how many Kafka brokers: 1 to ${brokersMax}`,
    },
  },
  async run(context) {
    const dir = path.resolve(context.args.dir);
    const brokers = brokerCount(context.args.brokers);
    const signal = context.drainSignal();
    // Standard output is for the answer, which in JSON is one document.
    const stream = context.isJson ? process.stderr : process.stdout;
    stream.write(`${pc.bold('Tributary stack')} ${pc.dim(`(${dir})`)}\n\n`);
    using stages = createStages(stream);
    const onProgress = (message: string) => void stream.write(pc.dim(`  ${message}\n`));
    try {
      await using stack = await runStack({ dir, brokers, stages, onProgress, signal });
      // Not through the redacting printer: the password of a server on loopback is there to be used.
      if (context.isJson) process.stdout.write(`${JSON.stringify(answerOf(stack))}\n`);
      else stream.write(`\n${whatNext(stack)}\n`);
      await Promise.race([aborted(signal), stack.broken]);
    } catch (error) {
      // Ctrl-C while it was starting.
      if (!signal.aborted) throw error;
    }
    stream.write('Stopped; the folder stays.\n');
  },
});

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

function answerOf({ configurationFile, sourceUrl, brokers, registryUrl }: Stack) {
  return { configuration: configurationFile, postgres: sourceUrl, brokers, registry: registryUrl };
}

function whatNext(stack: Stack): string {
  const file = path.relative(process.cwd(), stack.configurationFile);
  return [
    pc.bold('Addresses'),
    `PostgreSQL       ${stack.sourceUrl}`,
    `Kafka            ${stack.brokers.join(',')}`,
    `Schema registry  ${stack.registryUrl}`,
    `\n${pc.bold('Next')}, in another terminal:`,
    `  npm start -- run --config ${file}`,
    `  npm start -- status --config ${file}`,
    '\nRunning until Ctrl-C.',
  ].join('\n');
}

function brokerCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 1 && count <= brokersMax) return count;
  throw usageError(
    `--brokers takes a whole number from 1 to ${brokersMax}, not "${text}"`,
    'tributary stack --brokers 3',
  );
}
