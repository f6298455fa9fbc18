import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const childScript = path.join(import.meta.dirname, 'duckdb-child.ts');

/** Another process at a lake; see duckdb-child.ts. Killed when disposed. */
export class DuckdbProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly lines: string[] = [];
  #waiting: (() => void)[] = [];

  constructor(role: 'load' | 'hold' | 'borrow', lakePath: string) {
    this.#child = spawn(process.execPath, [childScript, role, lakePath], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const child = this.#child;
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
    if (child.stdout === null) throw new Error('the child has a stdout');
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.lines.push(line);
      for (const wake of this.#waiting.splice(0)) wake();
    });
    child.once('exit', () => {
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Resolves with the first line that matches, once it has come. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(`the child ended before it said ${pattern}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** A folder for one lake, removed when disposed. */
export async function lakeFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'tributary-lake-'));
  return {
    path: path.join(folder, 'lake.duckdb'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
