import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export interface CommandLineResult {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

const program = fileURLToPath(new URL('../../tributary.ts', import.meta.url));
const timeoutMs = 400_000;

/** Runs `tributary <words>` as a user would, in a process of its own; resolves when it ended. */
export function runCommandLine(
  words: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<CommandLineResult> {
  const { promise, resolve } = Promise.withResolvers<CommandLineResult>();
  execFile(
    process.execPath,
    [program, ...words],
    {
      cwd: options.cwd ?? path.dirname(program),
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...options.env },
      timeout: timeoutMs,
      maxBuffer: 64 * 1024 * 1024,
    },
    (error, stdout, stderr) => {
      const exit = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ exit, stdout, stderr });
    },
  );
  return promise;
}
