import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { endWithUs } from '../../commands/stack/end-with-us.ts';

export interface ChildFigures {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakMemoryMb: number;
}

/** Where mode "kafka" writes to, as its last word in JSON. */
export interface KafkaServers {
  readonly brokers: readonly string[];
  readonly registryUrl: string;
  readonly client: 'auto' | 'kafkajs' | 'platformatic';
  readonly prefix: string;
}

const child = fileURLToPath(new URL('capture-child.ts', import.meta.url));

/** Runs capture-child.ts in a process of its own, until `signal`; words: mode, url, slot, folder, LSN to stop at. */
export async function runChild(
  words: readonly string[],
  signal?: AbortSignal,
): Promise<ChildFigures> {
  const running = promisify(execFile)(process.execPath, [child, ...words], { signal });
  endWithUs(running.child, 'SIGKILL');
  const { stdout } = await running;
  return JSON.parse(stdout) as ChildFigures;
}
