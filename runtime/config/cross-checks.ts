import { suggestion } from './fields.ts';
import {
  keyPosition,
  pathKey,
  positionOf,
  type ConfigPath,
  type ConfigProblem,
  type ConfigSource,
} from './source-text.ts';

type Block = Readonly<Record<string, unknown>>;

/** Rules between fields. They look at the raw file, so that they are told together with all other problems. */
export function crossChecks(source: ConfigSource): ConfigProblem[] {
  const root = block(source.value);
  const problem = (path: ConfigPath, message: string): ConfigProblem => ({
    ...positionOf(source, path),
    message: `${path.join('.')}: ${message}`,
  });
  return [
    ...sourceChecks(source, problem),
    ...logChecks(source, problem),
    ...modelsChecks(root, problem),
    ...sinkChecks(root, source),
  ];
}

type MakeProblem = (path: ConfigPath, message: string) => ConfigProblem;

function sourceChecks(source: ConfigSource, problem: MakeProblem): ConfigProblem[] {
  const given = block(source.value)['source'];
  if (given === null || typeof given !== 'object') return [];
  const { url, url_file: urlFile } = block(given);
  const problems: ConfigProblem[] = [];
  if (url === undefined && urlFile === undefined) {
    problems.push(
      problem(['source', 'url'], 'is missing; give it like ${DATABASE_URL}, or give url_file'),
    );
  }
  if (url !== undefined && urlFile !== undefined) {
    problems.push(problem(['source', 'url_file'], 'stands beside url; give one of them'));
  }
  const isLiteral = !source.fromEnvironment.has(pathKey(['source', 'url']));
  if (typeof url === 'string' && isLiteral && hasPasswordForElsewhere(url)) {
    const message =
      'holds a password in plain text; give the URL as ${DATABASE_URL}, or leave the password out and give password_file';
    problems.push(problem(['source', 'url'], message));
  }
  return problems;
}

/** Where secrets may stand only as ${ENV}. */
const secretFields: readonly ConfigPath[] = [
  ['log', 'sasl', 'password'],
  ['registry', 'auth', 'password'],
  ['registry', 'auth', 'token'],
];

function logChecks(source: ConfigSource, problem: MakeProblem): ConfigProblem[] {
  const root = block(source.value);
  const log = block(root['log']);
  const registry = block(root['registry']);
  const problems: ConfigProblem[] = [];
  for (const path of secretFields) {
    const value = path.reduce<unknown>((at, key) => block(at)[String(key)], root);
    if (value === undefined || source.fromEnvironment.has(pathKey(path))) continue;
    const message = 'is a secret in plain text; give it as ${NAME}, or name a file with it';
    problems.push(problem(path, message));
  }
  if (log['type'] === 'kafka' && registry['type'] !== 'confluent') {
    const message =
      'a log on Kafka needs a registry; add `registry: { type: confluent, url: http://localhost:8081 }`';
    problems.push(problem(['log', 'type'], message));
  }
  const isPlain = block(log['sasl'])['mechanism'] === 'plain' && log['tls'] === undefined;
  if (isPlain && block(log['sasl'])['allow_plain_text'] !== true) {
    const message =
      'plain sends the password unencrypted; add a tls block, or use scram-sha-512 (allow_plain_text: true only for tests)';
    problems.push(problem(['log', 'sasl', 'mechanism'], message));
  }
  return problems;
}

/** A password for a database on this machine is a toy's; any other belongs to the environment or a file. */
function hasPasswordForElsewhere(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { password, hostname, searchParams } = new URL(text);
  const isLoopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
  return (password !== '' || searchParams.has('password')) && !isLoopback;
}

function modelsChecks(root: Block, problem: MakeProblem): ConfigProblem[] {
  const sink = block(root['models'])['sink'];
  const names = Object.keys(block(root['sinks']));
  if (typeof sink !== 'string') return [];
  const { mode, history } = block(block(root['sinks'])[sink]);
  if (mode === 'bigquery-cdc' && history === false) {
    const message = `"${sink}" keeps no changes, which models are made of; remove history: false`;
    return [problem(['models', 'sink'], message)];
  }
  if (names.includes(sink)) return [];
  const hint =
    suggestion(sink, names) || (names.length > 0 ? `; there are ${names.join(', ')}` : '');
  return [problem(['models', 'sink'], `"${sink}" is not one of the sinks${hint}`)];
}

function sinkChecks(root: Block, source: ConfigSource): ConfigProblem[] {
  const sinks = block(root['sinks']);
  const owners = new Map<unknown, string>();
  return Object.keys(sinks).flatMap((name) => {
    const problems: ConfigProblem[] = [];
    if (!/^[a-z][a-z0-9_-]{0,62}$/.test(name)) {
      const message = `sinks.${name}: is not a sink name; use at most 63 of a-z, 0-9, _ and -`;
      problems.push({ ...keyPosition(source, ['sinks', name]), message });
    }
    problems.push(...bigqueryChecks(block(sinks[name]), { source, name }));
    const home = homeOf(block(sinks[name]));
    const owner = owners.get(home?.id);
    if (home === null) return problems;
    if (owner === undefined) owners.set(home.id, name);
    else {
      const message = `sinks.${name}.${home.field}: is the ${home.noun} of sink "${owner}" already`;
      problems.push({ ...positionOf(source, ['sinks', name, home.field]), message });
    }
    return problems;
  });
}

function bigqueryChecks(
  { type, mode, endpoint, storage_endpoint: storageEndpoint }: Block,
  { source, name }: { readonly source: ConfigSource; readonly name: string },
): ConfigProblem[] {
  const isStreamed = type === 'bigquery' && (mode === 'stream' || mode === 'bigquery-cdc');
  if (!isStreamed || endpoint === undefined || storageEndpoint !== undefined) return [];
  const message = `sinks.${name}.endpoint: mode ${mode} also needs storage_endpoint, like localhost:9060`;
  return [{ ...positionOf(source, ['sinks', name, 'endpoint']), message }];
}

/** What only one sink can have: its file, or its dataset. */
function homeOf({ type, path, project, dataset }: Block) {
  if (type === 'bigquery') {
    const isGiven = typeof project === 'string' && typeof dataset === 'string';
    return isGiven ? { id: `${project}.${dataset}`, field: 'dataset', noun: 'dataset' } : null;
  }
  return typeof path === 'string' ? { id: path, field: 'path', noun: 'file' } : null;
}

const block = (value: unknown): Block =>
  value !== null && typeof value === 'object' ? (value as Block) : {};
