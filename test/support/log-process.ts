import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('log-child.ts', import.meta.url));

export interface LogProcessOptions {
  readonly role: 'append' | 'read';
  /** Module with `openLog(place)`. */
  readonly opener: URL;
  readonly place: string;
  readonly topic: string;
  /** For a reader: the offset to read up to. */
  readonly until?: number;
  /** No file may grow beyond this, as if the disk were full. */
  readonly fileKilobytesMax?: number;
  /** From which sync of a file on the kernel answers EIO; needs strace. */
  readonly failingSync?: number;
}

/** What bash runs before the program, so that it meets a fault. */
function faultPrefix({ fileKilobytesMax, failingSync }: LogProcessOptions): string {
  const limit = fileKilobytesMax === undefined ? '' : `ulimit -f ${fileKilobytesMax}; `;
  if (failingSync === undefined) return `${limit}exec`;
  // With -D the program keeps the process id that we know, and strace ends with it.
  const fault = `inject=fsync,fdatasync:error=EIO:when=${failingSync}+`;
  return `${limit}exec strace -D -f -qq -o /dev/null -e trace=fsync,fdatasync -e ${fault}`;
}

/** A process that appends to, or reads, a log; see log-child.ts. */
export class LogProcess implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #stderr = '';

  constructor(options: LogProcessOptions) {
    const { role, opener, place, topic, until = 0 } = options;
    const args = [script, role, opener.href, place, topic, String(until)];
    const command = `${faultPrefix(options)} "$0" "$@"`;
    const child = spawn('bash', ['-c', command, process.execPath, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stderr.on('data', (text: Buffer) => (this.#stderr += text.toString()));
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line));
    this.#child = child;
    this.#closed = once(child, 'close');
  }

  /** Waits until so many lines were printed. Throws when the process ends before. */
  async printed(count: number): Promise<void> {
    while (this.lines.length < count) {
      if (this.#child.exitCode !== null) throw new Error(`the process ended: ${this.#stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  /** kill -9; everything printed before is in `lines` afterwards. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }

  /** Waits for a failure; gives what was printed about it. */
  async failed(): Promise<string> {
    await this.#closed;
    if (this.#child.exitCode === 0) throw new Error('the process did not fail');
    return this.#stderr;
  }

  /** Waits for the end; throws with stderr unless the exit code is 0. */
  async ended(): Promise<void> {
    await this.#closed;
    if (this.#child.exitCode !== 0) throw new Error(`the process failed: ${this.#stderr}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
  }
}
