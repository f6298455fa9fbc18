import { Writable } from 'node:stream';
import { pino, type Logger } from 'pino';
import { PinoPretty } from 'pino-pretty';
import { createRedact, type Redact } from './redact.ts';

export type { Logger } from 'pino';

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export function isLogLevel(word: unknown): word is LogLevel {
  return logLevels.some((level) => level === word);
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** auto: pretty when the stream is a terminal, else one JSON object a line. */
  readonly format: 'auto' | 'pretty' | 'json';
  readonly redact?: Redact;
  /** Standard error unless given: standard output is for what a command answers. */
  readonly stream?: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/** A logger whose lines never hold a password, whoever wrote them. Lines are written synchronously. */
export function createLogger(options: LoggerOptions): Logger {
  const { level, format, redact = createRedact(), stream = process.stderr } = options;
  const safe = new Writable({
    decodeStrings: false,
    write(chunk: Buffer | string, _encoding, done) {
      stream.write(redact(chunk.toString()));
      done();
    },
  });
  const isPretty = format === 'pretty' || (format === 'auto' && stream.isTTY === true);
  const destination = isPretty
    ? PinoPretty({
        destination: safe,
        colorize: stream.isTTY === true,
        ignore: 'pid,hostname,role,kind,hint',
        translateTime: 'SYS:HH:MM:ss.l',
        singleLine: true,
        messageFormat: sentence,
      })
    : safe;
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

/** For people: who says it, what, of which kind it is, and what to do. The other fields follow it. */
function sentence(line: Readonly<Record<string, unknown>>, messageKey: string): string {
  const [message, role, kind, hint] = [messageKey, 'role', 'kind', 'hint'].map((key) =>
    typeof line[key] === 'string' ? line[key] : '',
  ) as [string, string, string, string];
  // What a supervisor says of a role's end begins with its name already.
  const who = role === '' || message.startsWith(`${role}: `) ? '' : `${role}: `;
  return `${who}${message}${kind === '' ? '' : ` (${kind})`}${hint === '' ? '' : `; hint: ${hint}`}`;
}
