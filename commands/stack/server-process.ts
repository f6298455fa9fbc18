import { type ChildProcess, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { PipelineError } from '../../runtime/errors.ts';
import { runProcess } from '../../runtime/run-process.ts';

const startTimeoutMs = 120_000;
const stopTimeoutMs = 20_000;
const pollMs = 50;
const lastWordsBytesMax = 4_000;

export interface ServerCommand {
  /** "Kafka": for messages. */
  readonly what: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Holds the process id while it runs, so that a next start finds what a killed one left. */
  readonly pidFile: string;
  /** Resolves to true when the server answers. Asked again and again. */
  readonly isReady: (output: string) => boolean | Promise<boolean>;
}

export interface ServerProcess {
  readonly pid: number;
  /** Asks it to end; resolves when it is gone. */
  stop(): Promise<void>;
  /** As a power cut would. */
  kill(): Promise<void>;
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
}

const running = new Set<ChildProcess>();
// A Ctrl-C of the terminal must reach us alone, so servers have sessions of their own: end them with us.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a server and waits until it answers. Throws `setup-failed` with its last words. */
export async function startServer(options: ServerCommand): Promise<ServerProcess> {
  await stopLeftover(options.pidFile);
  const child = spawn(options.command, options.args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  }).then(() => void running.delete(child));
  const output = keepOutput(child);
  if (child.pid !== undefined) await writeFile(options.pidFile, String(child.pid));
  await untilReady(options, child, output);
  const end = async (name: 'SIGTERM' | 'SIGKILL') => {
    child.kill(name);
    // A frozen process takes no signal but these two.
    child.kill('SIGCONT');
    const late = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await gone;
    clearTimeout(late);
  };
  return {
    pid: child.pid ?? 0,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    signal: (name) => void child.kill(name),
  };
}

interface Output {
  /** Everything until the server is ready, then the end of it. */
  text: string;
}

function keepOutput(child: ChildProcess): Output {
  const output = { text: '' };
  const keep = (chunk: Buffer) => {
    output.text = (output.text + chunk.toString('utf8')).slice(-lastWordsBytesMax);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  return output;
}

async function untilReady(options: ServerCommand, child: ChildProcess, output: Output) {
  const deadline = performance.now() + startTimeoutMs;
  let failure: unknown;
  child.once('error', (error) => (failure = error));
  while (!(await options.isReady(output.text))) {
    const isGone = failure !== undefined || child.exitCode !== null || child.signalCode !== null;
    if (isGone || performance.now() > deadline) {
      child.kill('SIGKILL');
      const said = output.text.trim() || 'no output';
      throw new PipelineError('setup-failed', `${options.what} did not start: ${said}`, {
        ...(failure === undefined ? {} : { cause: failure }),
      });
    }
    await pause(pollMs);
  }
}

/** A killed run leaves its server behind; two servers cannot share a folder. */
async function stopLeftover(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!(pid > 0) || !(await isOurs(pid))) return;
  process.kill(pid, 'SIGKILL');
  while (await isOurs(pid)) await pause(pollMs);
}

/** The number may belong to another program by now: only a Java process is one of ours. */
async function isOurs(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => 'java');
  return command.includes('java');
}

/** Runs a Java program to its end. Throws `setup-failed` with what it said. */
export async function runTool(java: string, args: readonly string[]): Promise<void> {
  const { exitCode, output } = await runProcess(java, args);
  if (exitCode === 0) return;
  const main = args.find((word) => /^[a-z].*\.[A-Z]/.test(word)) ?? java;
  throw new PipelineError(
    'setup-failed',
    `${main} ended with code ${exitCode}: ${output.trim().slice(-lastWordsBytesMax)}`,
  );
}
