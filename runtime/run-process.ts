import { spawn } from 'node:child_process';

export interface ProcessResult {
  /** null when a signal ended it. */
  readonly exitCode: number | null;
  /** The last `outputBytesMax` of standard output and standard error, as they came. */
  readonly output: string;
}

export interface ProcessOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Called for each whole line of either stream. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Enough for any error report of pip or dbt; bounded, because dbt's log can be long. */
const outputBytesMax = 64 * 1024;

/**
 * Runs a program to its end and keeps the tail of what it said. Rejects only if it cannot be started or
 * `signal` aborted it; what a non-zero exit means is the caller's to say.
 */
export function runProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<ProcessResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      const lines = lineSplitter(options.onLine ?? (() => {}));
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => {
        output = (output + text).slice(-outputBytesMax);
        lines.push(text);
      });
      stream.on('end', () => lines.end());
    }
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, output }));
  });
}

function lineSplitter(onLine: (line: string) => void) {
  let rest = '';
  return {
    push(text: string): void {
      const lines = (rest + text).split(/\r?\n/);
      rest = (lines.pop() ?? '').slice(-outputBytesMax);
      for (const line of lines) onLine(line);
    },
    end(): void {
      if (rest !== '') onLine(rest);
    },
  };
}
