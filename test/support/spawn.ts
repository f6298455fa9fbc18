import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';

const program = fileURLToPath(new URL('../../tributary.ts', import.meta.url));
const waitMsMax = 60_000;

/** A command that runs until it is told to stop; disposing kills what is left of it. */
export interface RunningCommand extends AsyncDisposable {
  readonly pid: number;
  /** Resolves with the exit code when it has ended, by itself or not; null after a signal. */
  readonly ended: Promise<number | null>;
  /** Everything it wrote so far, both streams. */
  output(): string;
  /** Resolves once the output matches; throws with the output when the command ended before. */
  waitFor(pattern: RegExp): Promise<void>;
  /** Sends the signal and gives the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts `tributary <words>` as a user would, in a process of its own. */
export function startCommandLine(
  words: readonly string[],
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): RunningCommand {
  const child: ChildProcess = spawn(process.execPath, [program, ...words], {
    cwd: options.cwd,
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const ended = once(child, 'close') as Promise<[code: number | null]>;
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const stop = async (signal: NodeJS.Signals = 'SIGINT') => {
    child.kill(signal);
    const [code] = await ended;
    return code;
  };
  return {
    pid: child.pid ?? 0,
    ended: ended.then(([code]) => code),
    output: () => text,
    async waitFor(pattern) {
      const isThere = () => pattern.test(text);
      await vi.waitUntil(() => isThere() || hasEnded(), { timeout: waitMsMax, interval: 20 });
      if (!isThere()) throw new Error(`ended before ${String(pattern)}:\n${text}`);
    },
    stop,
    [Symbol.asyncDispose]: async () => {
      if (!hasEnded()) await stop('SIGKILL');
    },
  };
}
