import type { ArgsDef, ParsedArgs } from 'citty';
import type { Config, Environment } from '../runtime/config.ts';
import { PipelineError } from '../runtime/errors.ts';
import type { Logger } from '../runtime/logger.ts';

/** Options that every command takes. */
export const globalArgs = {
  config: {
    type: 'string',
    valueHint: 'FILE',
    description: 'configuration file; else $TRIBUTARY_CONFIG, else tributary.yaml',
  },
  json: { type: 'boolean', description: 'answer in JSON' },
  'log-level': {
    type: 'string',
    valueHint: 'LEVEL',
    description: 'fatal, error, warn, info, debug, trace or silent',
  },
} as const satisfies ArgsDef;

/** What a command is given. Answers go to standard output, the log and failures to standard error. */
export interface CommandContext<T extends ArgsDef = ArgsDef> {
  readonly args: ParsedArgs<T & typeof globalArgs>;
  readonly env: Environment;
  /** `--json` was given. */
  readonly isJson: boolean;
  /** Standard output shows live lines. */
  readonly isTerminal: boolean;
  /** Writes to standard output, with a line end. */
  print(text: string): void;
  /** Loads the configuration and makes the logger that it asks for. Throws `config-invalid`. */
  open(options?: OpenOptions): Session;
  /** From this call on the first Ctrl-C aborts the signal instead of ending the process. */
  drainSignal(): AbortSignal;
}

export interface OpenOptions {
  /** Where the log goes; standard error unless given. */
  readonly logStream?: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

export interface Session {
  readonly config: Config;
  /** Its lines hold no secret of the configuration. */
  readonly logger: Logger;
}

export interface Command<T extends ArgsDef = ArgsDef> {
  /** What it does, in one or a few sentences. */
  readonly description: string;
  /** One real command line. */
  readonly example: string;
  readonly args: T;
  /** Gives the exit code; nothing means 0. Failures are thrown. */
  run(context: CommandContext<T>): Promise<number | void>;
}

/** Types the arguments of a command's `run` by its `args`. */
export function defineCommand<const T extends ArgsDef>(command: Command<T>): Command {
  return command as Command;
}

/** A command line that cannot be meant: says what is wrong and what to try. */
export function usageError(message: string, attempt: string): PipelineError {
  return new PipelineError('usage', message, { hint: `Try: ${attempt}` });
}
