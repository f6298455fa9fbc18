import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

import type { CaptureBench } from '../integration/capture-harness.ts';
import { eventually, prefix } from '../integration/capture-harness.ts';
import type { ChildOptions } from './capture-child.ts';

export interface CaptureProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly output: () => string;
  /** Resolves with the signal or exit code that ended it. */
  readonly ended: Promise<NodeJS.Signals | number | null>;
  /** Asks it to stop and waits; gives the exit code. */
  stop(): Promise<NodeJS.Signals | number | null>;
}

const script = path.join(import.meta.dirname, 'capture-child.ts');

export interface ProcessSource extends Partial<Pick<ChildOptions, 'limits' | 'transactionTopic'>> {
  readonly url: string;
  readonly slot: string;
}

/** Starts a capture process; `failpoint` is where it will kill itself, e.g. "append:3". */
export function startCaptureProcess(
  bench: CaptureBench,
  { url, slot, limits, transactionTopic = false }: ProcessSource,
  failpoint?: string,
): CaptureProcess {
  const options: ChildOptions = {
    source: { publication: 'tributary', tables: ['*.*'], url, slot },
    transactionTopic,
    prefix,
    logPath: path.join(bench.dir, 'log.db'),
    spoolPath: path.join(bench.dir, 'spool'),
    limits: {
      idleIntervalMs: 100,
      statusIntervalMs: 50,
      slotWaitMs: 10_000,
      giveUpAfterMs: 10_000,
      ...limits,
    },
  };
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', script, JSON.stringify(options)],
    {
      env: { ...process.env, TRIBUTARY_FAILPOINT: failpoint ?? '' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (output += bytes.toString()));
  const ended = once(child, 'close').then(() => child.signalCode ?? child.exitCode);
  const stop = async (): Promise<NodeJS.Signals | number | null> => {
    child.kill('SIGTERM');
    return await ended;
  };
  return {
    child,
    ended,
    stop,
    output: () => output,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Waits until the process has read every table. */
export async function untilRead(running: CaptureProcess): Promise<void> {
  await eventually('the snapshot', () => {
    if (running.child.exitCode !== null) throw new Error(`capture ended: ${running.output()}`);
    return running.output().includes('read\n');
  });
}
