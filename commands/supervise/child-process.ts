import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { errorPolicies, PipelineError, type ErrorKind } from '../../runtime/errors.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { ErrorReport } from '../../runtime/report-error.ts';
import { supervisedVariable, type RoleMessage } from './child-link.ts';

export interface ChildOptions {
  readonly role: string;
  /** Program and arguments. */
  readonly command: readonly [program: string, ...args: string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** How long the child may drain before it is killed. */
  readonly graceMs: number;
  readonly onProgress: (text: string) => void;
}

/** Children alive now: killed when this process ends by whatever way lets it say so. */
const alive = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

/**
 * Runs one role as a process of its own until it ends. An abort sends SIGTERM, and SIGKILL after the
 * grace. Throws what the child reported, `role-crashed` when a signal ended it and `role-broken` when it
 * failed without a word.
 */
export async function runChild(options: ChildOptions): Promise<void> {
  const { role, command, env, signal, graceMs, onProgress } = options;
  const [program, ...args] = command;
  // A group of its own: a terminal sends Ctrl-C to the whole group, and the child would take the
  // supervisor's SIGTERM for the second one.
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { ...env, [supervisedVariable]: '1' },
    detached: true,
  });
  alive.add(child);
  let report: ErrorReport | undefined;
  child.on('message', (message: RoleMessage) => {
    if (message.type === 'failed') report = message.report;
    else onProgress(message.text);
  });
  const logged = [child.stdout, child.stderr].map((stream) => forwardLines(stream, options));
  const stop = stopOnAbort(child, signal, graceMs);
  try {
    const { code, killedBy } = await exitOf(child);
    await Promise.all(logged);
    const failure = failureOf({ role, code, killedBy, report });
    if (failure !== undefined && !(signal.aborted && report === undefined)) throw failure;
  } finally {
    stop[Symbol.dispose]();
    alive.delete(child);
  }
}

interface ChildExit {
  readonly code: number | null;
  readonly killedBy: NodeJS.Signals | null;
}

/** What the end of a child means; undefined for a good end. */
export function failureOf(
  end: ChildExit & { readonly role: string; readonly report: ErrorReport | undefined },
): PipelineError | undefined {
  const { role, code, killedBy, report } = end;
  if (report !== undefined) {
    const kind: ErrorKind = isErrorKind(report.kind) ? report.kind : 'role-broken';
    const causes = report.causes.map((cause) => `; ${cause}`).join('');
    return new PipelineError(kind, `${role}: ${report.message}${causes}`, {
      hint: report.hint,
      context: report.context,
    });
  }
  if (killedBy !== null) {
    return new PipelineError('role-crashed', `${role} was ended by ${killedBy}`, {
      context: { role, signal: killedBy },
    });
  }
  if (code === 0) return undefined;
  return new PipelineError('role-broken', `${role} ended with exit code ${code} and no report`, {
    context: { role, code },
  });
}

const isErrorKind = (kind: string): kind is ErrorKind => kind in errorPolicies;

async function exitOf(child: ChildProcess): Promise<ChildExit> {
  const { promise, resolve, reject } = Promise.withResolvers<ChildExit>();
  child.once('exit', (code, killedBy) => resolve({ code, killedBy }));
  child.once('error', reject);
  return promise;
}

function stopOnAbort(child: ChildProcess, signal: AbortSignal, graceMs: number): Disposable {
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    child.kill('SIGTERM');
    timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    },
  };
}

/** A child's log lines become the supervisor's, with the role's name; other output is passed on as text. */
async function forwardLines(
  stream: Readable | null,
  options: Pick<ChildOptions, 'logger' | 'role'>,
): Promise<void> {
  if (stream === null) return;
  const { logger, role } = options;
  for await (const line of createInterface({ input: stream })) {
    if (line.trim() === '') continue;
    const entry = parseLogLine(line);
    if (entry === undefined) logger.info({ role }, line);
    else logger[entry.level]({ role, ...entry.fields }, entry.message);
  }
}

interface PinoLine extends Readonly<Record<string, unknown>> {
  readonly level: number;
  readonly msg?: string;
}

interface LogEntry {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** pino's numbers: https://github.com/pinojs/pino/blob/main/docs/api.md#loggerlevels-object */
const levelNames: Readonly<Record<number, LogEntry['level']>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

/** Reads a line that pino wrote; undefined for any other text. */
export function parseLogLine(line: string): LogEntry | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { level, msg, time: _time, ...fields } = JSON.parse(line) as PinoLine;
    const name = levelNames[level];
    return name === undefined ? undefined : { level: name, message: msg ?? '', fields };
  } catch {
    return undefined;
  }
}
