import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { crossChecks } from './config/cross-checks.ts';
import { describeIssues } from './config/problems.ts';
import { configSchema, type ParsedConfig } from './config/schema.ts';
import { readConfigSource, type ConfigProblem, type ConfigSource } from './config/source-text.ts';
import { PipelineError } from './errors.ts';

/**
 * The configuration of a deployment: every field set, sizes in bytes, times in milliseconds, paths
 * absolute, the source's URL complete with its password.
 */
export interface Config extends Omit<ParsedConfig, 'source'> {
  /** Absolute path of the file. */
  readonly file: string;
  readonly source: SourceConfig;
}

export interface SourceConfig extends Pick<
  ParsedConfig['source'],
  'slot' | 'publication' | 'tables'
> {
  /** Holds the password: never to be logged. */
  readonly url: string;
}

type Tls = NonNullable<Extract<ParsedConfig['log'], { type: 'kafka' }>['tls']>;
interface Secrets {
  readonly password_file?: string | undefined;
  readonly token_file?: string | undefined;
}

export type KafkaLogConfig = Extract<Config['log'], { readonly type: 'kafka' }>;
export type ConfluentRegistryConfig = Extract<Config['registry'], { readonly type: 'confluent' }>;
export type SinkConfig = Config['sinks'][string];
export type DuckdbSinkConfig = Extract<SinkConfig, { readonly type: 'duckdb' }>;
export type BigquerySinkConfig = Extract<SinkConfig, { readonly type: 'bigquery' }>;
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads and checks a configuration file. Throws `config-invalid` that lists everything wrong with it, a
 * line for each with file, line and column.
 */
export function loadConfig(file: string, env: Environment): Config {
  const absolute = resolve(file);
  return parseConfig(readText(absolute), { file: absolute, env });
}

/** As `loadConfig`, of a text that stands (or would stand) at `file`. */
export function parseConfig(
  text: string,
  place: { readonly file: string; readonly env: Environment },
): Config {
  const source = readConfigSource(text, place.env);
  const parsed = source.value === undefined ? undefined : configSchema.safeParse(source.value);
  const problems = [...source.problems];
  if (parsed !== undefined) {
    problems.push(...describeIssues(parsed.error?.issues ?? [], configSchema, source));
    problems.push(...crossChecks(source));
  }
  if (parsed?.data === undefined || problems.length > 0)
    throw configInvalid(problems, { ...place, source });
  return absoluteConfig(parsed.data, place.file);
}

function configInvalid(
  problems: readonly ConfigProblem[],
  place: { readonly file: string; readonly source: ConfigSource },
): PipelineError {
  const shown = relative(process.cwd(), place.file);
  const name = shown.startsWith('..') ? place.file : shown;
  const lines = problems
    .toSorted((left, right) => left.line - right.line || left.column - right.column)
    .map(
      ({ line, column, message }) =>
        `${name}:${line}:${column}: ${hideSecrets(message, place.source)}`,
    );
  return new PipelineError('config-invalid', [...new Set(lines)].join('\n'), {
    hint: hintFor(problems, name),
    context: { file: place.file, problems: problems.length },
  });
}

/** Where only variables are missing, there is nothing to correct in the file. */
function hintFor(problems: readonly ConfigProblem[], name: string): string {
  const missing = problems.map(
    ({ message }) => /^environment variable (\w+) is not set/.exec(message)?.[1],
  );
  return missing.every((variable) => variable !== undefined)
    ? `set it first: ${[...new Set(missing)].map((variable) => `export ${variable}=…`).join('; ')}`
    : `correct ${name}; \`tributary config --reference\` lists every field`;
}

/** A wrong value may have come from the environment, so its name is shown in its place. */
function hideSecrets(message: string, source: ConfigSource): string {
  let shown = message;
  for (const [secret, name] of source.secrets) shown = shown.replaceAll(secret, name);
  return shown;
}

function absoluteConfig(parsed: ParsedConfig, file: string): Config {
  const folder = dirname(file);
  const at = (path: string): string => resolve(folder, path);
  const { source, log, registry, sinks, models, capture, ...rest } = parsed;
  return {
    ...rest,
    file,
    source: {
      url: sourceUrl(source, folder),
      slot: source.slot,
      publication: source.publication,
      tables: source.tables,
    },
    log: log.type === 'embedded' ? { ...log, path: at(log.path) } : withFiles(log, folder),
    registry: registry.type === 'embedded' ? registry : withFiles(registry, folder),
    sinks: Object.fromEntries(
      Object.entries(sinks).map(([name, sink]) => [name, absoluteSink(sink, at)]),
    ),
    capture: { ...capture, spool: at(capture.spool) },
    models: models === undefined ? undefined : { ...models, mapping: at(models.mapping) },
  };
}

function absoluteSink(sink: SinkConfig, at: (path: string) => string): SinkConfig {
  if (sink.type === 'duckdb') return { ...sink, path: at(sink.path) };
  const { credentials_file: file } = sink;
  return file === undefined ? sink : { ...sink, credentials_file: at(file) };
}

interface Secured {
  readonly tls?: Tls | undefined;
  readonly sasl?: Secrets | undefined;
  readonly auth?: Secrets | undefined;
}

/** Paths made absolute, and passwords taken from their files; tokens and certificates may change later. */
function withFiles<B extends Secured>(given: B, folder: string): B {
  const at = (path: string | undefined) => (path === undefined ? undefined : resolve(folder, path));
  const { tls, sasl, auth } = given;
  const secrets = <S extends Secrets>(block: S): S => ({
    ...block,
    ...(block.password_file === undefined
      ? {}
      : { password: firstLine(resolve(folder, block.password_file)) }),
    ...(block.token_file === undefined ? {} : { token_file: resolve(folder, block.token_file) }),
  });
  return {
    ...given,
    ...(tls === undefined
      ? {}
      : {
          tls: {
            ...tls,
            ca_file: at(tls.ca_file),
            cert_file: at(tls.cert_file),
            key_file: at(tls.key_file),
          },
        }),
    ...(sasl === undefined ? {} : { sasl: secrets(sasl) }),
    ...(auth === undefined ? {} : { auth: secrets(auth) }),
  };
}

function sourceUrl(source: ParsedConfig['source'], folder: string): string {
  const { url_file: urlFile, password_file: passwordFile } = source;
  const text = source.url ?? firstLine(resolve(folder, urlFile ?? ''));
  if (!URL.canParse(text)) {
    throw new PipelineError('config-invalid', `${urlFile} does not hold a PostgreSQL URL`, {
      hint: 'its first line must look like postgres://user:password@host:5432/database',
    });
  }
  if (passwordFile === undefined) return text;
  const url = new URL(text);
  url.password = encodeURIComponent(firstLine(resolve(folder, passwordFile)));
  return url.href;
}

const firstLine = (file: string): string => (readText(file).split('\n')[0] ?? '').trim();

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const isMissing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    throw new PipelineError(
      'config-invalid',
      `${file} ${isMissing ? 'does not exist' : 'cannot be read'}`,
      {
        hint: 'name another file with --config, or write one with `tributary init --source postgres://…`',
        cause,
      },
    );
  }
}
