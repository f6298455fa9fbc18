import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { PipelineError } from '../../runtime/errors.ts';
import { runProcess } from '../../runtime/run-process.ts';
import { endWithUs } from './end-with-us.ts';

const startTimeoutMs = 120_000;
/** A server that takes longer to end is killed. */
const stopTimeoutMs = 20_000;
const pollMs = 50;
const lastWordsMax = 4_000;

/** For a JVM on a laptop that is to be there soon: no threads for collecting, no second compiler, no shared figures. */
export const quickStart = [
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-XX:-UsePerfData',
] as const;

export interface JavaServer {
  /** "Kafka": for messages. */
  readonly what: string;
  /** The program `java`. */
  readonly java: string;
  readonly args: readonly string[];
  /** Its folder: gets `server.log`, `tmp` and, while it runs, `server.pid`. */
  readonly dir: string;
  /** True when the server answers. Asked again and again, with what it has logged so far. */
  readonly isReady: (log: string) => boolean | Promise<boolean>;
  /** Ends the start; without meaning once the server answers. */
  readonly signal?: AbortSignal | undefined;
}

export interface ServerProcess {
  readonly pid: number;
  /** Resolves when it is gone, whoever ended it. */
  readonly ended: Promise<void>;
  /** The end of its log. */
  readonly lastWords: () => Promise<string>;
  /** Asks it to end; resolves when it is gone. */
  readonly stop: () => Promise<void>;
  /** As a power cut would. */
  readonly kill: () => Promise<void>;
  readonly signal: (name: 'SIGSTOP' | 'SIGCONT') => void;
}

/**
 * Starts a server and waits until it answers. One that a killed run left in the same folder is killed
 * first; ours ends with this process. Throws `setup-failed` with its last words.
 */
export async function startServer(options: JavaServer): Promise<ServerProcess> {
  const { dir, java, args } = options;
  await mkdir(dir, { recursive: true });
  const pidFile = path.join(dir, 'server.pid');
  const mark = `-Dtributary.server=${pidFile}`;
  await killLeftover(pidFile, mark);
  // A file, not a pipe: the server never waits for us to read, and people can read it too.
  const logFile = path.join(dir, 'server.log');
  const log = await open(logFile, 'w');
  // A terminal's Ctrl-C must reach us alone: we drain first and stop the servers last.
  const stdio = ['ignore' as const, log.fd, log.fd];
  const words = [mark, `-Djava.io.tmpdir=${await emptyFolder(path.join(dir, 'tmp'))}`, ...args];
  const child = spawn(java, words, { detached: true, stdio });
  const ended = endOf(child);
  await log.close();
  if (child.pid !== undefined) await writeFile(pidFile, String(child.pid));
  const lastWords = async () => (await readText(logFile)).trim().slice(-lastWordsMax);
  const end = async (name: 'SIGTERM' | 'SIGKILL') => {
    child.kill(name);
    // A frozen process takes no other signal before this one.
    child.kill('SIGCONT');
    const late = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await ended;
    clearTimeout(late);
  };
  const server: ServerProcess = {
    pid: child.pid ?? 0,
    ended,
    lastWords,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    signal: (name) => void child.kill(name),
  };
  await untilReady(options, server, () => readText(logFile));
  return server;
}

/** What a JVM unpacks stays behind when it is killed: it goes with the folder, or at the next start. */
async function emptyFolder(folder: string): Promise<string> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  return folder;
}

function endOf(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once('exit', () => resolve());
  // It could not be started at all.
  child.once('error', () => resolve());
  endWithUs(child, 'SIGKILL');
  return promise;
}

async function untilReady(
  { what, isReady, signal }: JavaServer,
  server: ServerProcess,
  readLog: () => Promise<string>,
): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  let isGone = false;
  void server.ended.then(() => (isGone = true));
  while (!(await isReady(await readLog()))) {
    if (isGone || signal?.aborted === true || performance.now() > deadline) {
      await server.kill();
      signal?.throwIfAborted();
      const said = (await server.lastWords()) || 'no output';
      throw new PipelineError('setup-failed', `${what} did not start: ${said}`);
    }
    await pause(pollMs);
  }
}

/** A killed run leaves its server behind; two servers cannot share a folder. */
async function killLeftover(pidFile: string, mark: string): Promise<void> {
  const pid = Number(await readText(pidFile));
  while (pid > 0 && (await commandLineOf(pid)).includes(mark)) {
    process.kill(pid, 'SIGKILL');
    await pause(pollMs);
  }
}

/** Empty when there is no such process. The number may belong to any program by now. */
export async function commandLineOf(pid: number): Promise<string> {
  if (process.platform === 'linux') return readText(`/proc/${pid}/cmdline`);
  const listed = await runProcess('ps', ['-o', 'command=', '-p', String(pid)]);
  return listed.output;
}

const readText = (file: string) => readFile(file, 'utf8').catch(() => '');

export interface JavaTool {
  readonly java: string;
  readonly jars: string;
  /** Of the JVM, beside those of a quick start. */
  readonly toolFlags?: readonly string[];
  readonly mainClass: string;
  readonly args: readonly string[];
  /** Words of the command line that no message may show. */
  readonly secrets?: readonly string[];
}

/** Runs a Java program to its end and gives what it said. Throws `setup-failed` with the same. */
export async function runTool(tool: JavaTool): Promise<string> {
  const { java, jars, toolFlags = [], mainClass, args, secrets = [] } = tool;
  const { exitCode, output } = await runProcess(java, [
    '-Xmx256m',
    ...quickStart,
    ...toolFlags,
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    '-cp',
    jars,
    mainClass,
    ...args,
  ]);
  if (exitCode === 0) return output;
  const said = secrets.reduce((text, secret) => text.replaceAll(secret, '…'), output.trim());
  throw new PipelineError(
    'setup-failed',
    `${mainClass} ended with code ${exitCode}: ${said.slice(-lastWordsMax)}`,
  );
}
