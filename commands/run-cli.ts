import { readFileSync } from 'node:fs';
import { suggestion } from '../runtime/config/fields.ts';
import { loadConfig, type Environment } from '../runtime/config.ts';
import { createLogger, isLogLevel } from '../runtime/logger.ts';
import { createRedact, secretsOfConfig, type Redact } from '../runtime/redact.ts';
import {
  interruptedExitCode,
  renderReport,
  renderReportJson,
  reportError,
} from '../runtime/report-error.ts';
import { listenForShutdown, type Shutdown } from '../runtime/shutdown.ts';
import {
  usageError,
  type Command,
  type CommandContext,
  type OpenOptions,
  type Session,
} from './command.ts';
import { commandTable, type CommandEntry } from './command-table.ts';
import { renderCommandHelp, renderHelp } from './help.ts';
import { parseCommandLine } from './parse-command-line.ts';
import { isSupervised, tellSupervisor } from './supervise/child-link.ts';

/** What the command line touches of the process. */
export interface CliStreams {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly env: Environment;
}

type OpenArgs = CommandContext['args'];

/** A drain that takes longer is given up; everything not finished is done again at the next start. */
const drainGraceMs = 30_000;

/** Runs one command line; gives the exit code. Every failure is reported here and nowhere else. */
export async function runCli(words: readonly string[], streams: CliStreams): Promise<number> {
  const invocation = new Invocation(streams, words.includes('--json'));
  try {
    return await invocation.run(words);
  } catch (error) {
    return invocation.fail(error);
  } finally {
    invocation[Symbol.dispose]();
  }
}

class Invocation implements Disposable {
  readonly #streams: CliStreams;
  readonly #isJson: boolean;
  #redact: Redact = createRedact();
  #shutdown: Shutdown | undefined;

  constructor(streams: CliStreams, isJson: boolean) {
    this.#streams = streams;
    this.#isJson = isJson;
  }

  async run(words: readonly string[]): Promise<number> {
    const [name, ...rest] = words;
    if (name === '--version') return this.#answer(version());
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      return this.#answer(renderHelp(commandTable));
    }
    const entry = findCommand(name);
    const command = await entry.load();
    const isHelp = rest.includes('--help') || rest.includes('-h');
    if (isHelp) return this.#answer(renderCommandHelp(entry, command));
    const exit = await command.run(this.#context(entry, command, rest));
    return exit ?? 0;
  }

  /** Reports a failure; gives its exit code. What Ctrl-C broke off is none. */
  fail(error: unknown): number {
    if (this.#isStopped(error)) {
      if (!isSupervised()) this.#say('stopped before it was done');
      return interruptedExitCode;
    }
    const report = reportError(error, this.#redact);
    // A supervisor decides by the kind of failure and reports it itself.
    if (!tellSupervisor({ type: 'failed', report })) {
      this.#streams.stderr.write(this.#isJson ? renderReportJson(report) : renderReport(report));
    }
    return report.exit;
  }

  /** On a terminal there may be a live line, and the ^C that it echoed. */
  #say(text: string): void {
    const { stderr } = this.#streams;
    stderr.write(`${stderr.isTTY === true ? '\r\u001B[2K' : ''}${text}\n`);
  }

  /** Work that has nothing to drain ends with the reason of the signal that stopped it. */
  #isStopped(error: unknown): boolean {
    if (this.#shutdown?.signal.aborted !== true) return false;
    for (let cause = error; cause instanceof Error; cause = cause.cause) {
      if (cause.name === 'AbortError') return true;
    }
    return false;
  }

  [Symbol.dispose](): void {
    this.#shutdown?.[Symbol.dispose]();
  }

  #context(entry: CommandEntry, command: Command, words: readonly string[]): CommandContext {
    const args = parseCommandLine(words, { name: entry.name, args: command.args });
    const { stdout, env } = this.#streams;
    return {
      args,
      env,
      isJson: this.#isJson,
      isTerminal: stdout.isTTY === true,
      print: (text) => void stdout.write(`${this.#redact(text)}\n`),
      open: (options) => this.#open(args, options),
      drainSignal: () => {
        this.#shutdown ??= listenForShutdown({
          graceMs: drainGraceMs,
          notify: (text) => void (isSupervised() || this.#say(text)),
        });
        return this.#shutdown.signal;
      },
    };
  }

  #open(args: OpenArgs, options: OpenOptions = {}): Session {
    const { env, stderr } = this.#streams;
    const named = args.config;
    const config = loadConfig(named ?? env['TRIBUTARY_CONFIG'] ?? 'tributary.yaml', env);
    this.#redact = createRedact(secretsOfConfig(config));
    const wanted = args['log-level'] ?? config.logging.level;
    if (!isLogLevel(wanted))
      throw usageError(`there is no log level "${wanted}"`, 'tributary --help');
    const format = isSupervised() ? 'json' : config.logging.format;
    const stream = options.logStream ?? stderr;
    return {
      config,
      logger: createLogger({ level: wanted, format, redact: this.#redact, stream }),
    };
  }

  #answer(text: string): number {
    this.#streams.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
    return 0;
  }
}

function findCommand(name: string): CommandEntry {
  const entry = commandTable.find((candidate) => candidate.name === name);
  if (entry !== undefined) return entry;
  const names = commandTable.map((candidate) => candidate.name);
  const what = name.startsWith('-')
    ? `there is no option ${name}`
    : `there is no command "${name}"`;
  throw usageError(`${what}${suggestion(name, names)}`, 'tributary --help');
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const { version: number } = JSON.parse(text) as { readonly version: string };
  return `tributary ${number} (Node ${process.versions.node})`;
}
