import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { ensureCachedFolder } from '../../runtime/cached-folder.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { runProcess } from '../../runtime/run-process.ts';
import sums from './jars.json' with { type: 'json' };

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const reasonLinesMax = 6;

/** "group:artifact:version", and ":type:classifier" of archives. */
type Coordinates = string;

interface JarSet {
  readonly what: string;
  /** Libraries, with everything that they need. */
  readonly libraries: readonly Coordinates[];
  /** Archives (.tar.gz), unpacked into a folder of their own artifact's name. */
  readonly archives: readonly Coordinates[];
  /** Files of archives that are left out, by what their names begin with. */
  readonly without?: readonly string[];
}

export const kafkaVersion = '4.3.1';
export const registryVersion = '3.3.3';
const slf4j = 'org.slf4j:slf4j-simple:1.7.36';

const jarSets = {
  kafka: {
    what: 'Kafka',
    libraries: [`org.apache.kafka:kafka_2.13:${kafkaVersion}`, slf4j],
    archives: [],
  },
  registry: {
    what: 'the schema registry',
    libraries: [],
    archives: [`io.apicurio:apicurio-registry-app:${registryVersion}:tar.gz:all`],
  },
  connect: {
    what: 'Kafka Connect',
    libraries: [
      `org.apache.kafka:connect-runtime:${kafkaVersion}`,
      `org.apache.kafka:connect-json:${kafkaVersion}`,
      slf4j,
    ],
    archives: [],
  },
  debezium: {
    what: 'Debezium',
    libraries: [],
    archives: [
      'io.debezium:debezium-connector-postgres:3.6.3.Final:tar.gz:plugin',
      'io.apicurio:apicurio-registry-distro-connect-converter:2.5.11.Final:tar.gz',
    ],
    // Kafka Connect brings these itself, newer.
    without: ['connect-json-', 'slf4j-api-', 'lombok-'],
  },
} as const satisfies Record<string, JarSet>;

export type JarSetName = keyof typeof jarSets;

export interface FetchOptions {
  readonly onProgress?: (message: string) => void;
  readonly signal?: AbortSignal;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * The folder with a server's jars (`lib/*.jar`, and a folder for each archive), downloaded by Maven on
 * first use and kept in the cache. Every file is what `jars.json` says, or nothing of it is used.
 * Throws `setup-failed`.
 */
export async function fetchJars(name: JarSetName, options: FetchOptions = {}): Promise<string> {
  const set: JarSet = jarSets[name];
  const wanted: Readonly<Record<string, string>> = sums[name];
  const version = createHash('sha256')
    .update(JSON.stringify([set, wanted]))
    .digest('hex');
  return ensureCachedFolder({
    ...options,
    projectRoot,
    name: `${name}-${version.slice(0, 12)}`,
    what: set.what,
    works: async (folder) => existsSync(folder),
    build: async (folder) => {
      options.onProgress?.(`downloading ${set.what} (once)`);
      await download(set, folder, options);
      checkSums(await sumsOf(folder), wanted, set.what);
      await unpackArchives(set, folder);
    },
  });
}

async function download(set: JarSet, folder: string, options: FetchOptions): Promise<void> {
  const lib = path.join(folder, 'lib');
  await mkdir(lib, { recursive: true });
  if (set.libraries.length > 0) {
    await writeFile(path.join(folder, 'pom.xml'), pomOf(set.libraries));
    await maven(options, [
      '-f',
      path.join(folder, 'pom.xml'),
      'dependency:copy-dependencies',
      '-DincludeScope=runtime',
      `-DoutputDirectory=${lib}`,
    ]);
  }
  for (const archive of set.archives) {
    const artifact = `-Dartifact=${archive}`;
    await maven(options, ['dependency:copy', artifact, `-DoutputDirectory=${lib}`]);
  }
}

async function maven(options: FetchOptions, words: readonly string[]): Promise<void> {
  const { signal, env = process.env } = options;
  const settings = { env, ...(signal === undefined ? {} : { signal }) };
  const result = await runProcess('mvn', ['-B', '-q', ...words], settings).catch((cause) => {
    throw new PipelineError('setup-failed', 'Maven (mvn) could not be started', {
      hint: 'install Maven (Debian, Ubuntu: apt-get install maven; macOS: brew install maven)',
      cause,
    });
  });
  if (result.exitCode === 0) return;
  // A repository may be configured with a password in its address.
  const said = result.output
    .replaceAll(/\/\/[^\s/@]+@/g, '//…@')
    .trim()
    .split('\n');
  throw new PipelineError(
    'setup-failed',
    `Maven could not download what is needed: ${said.slice(0, reasonLinesMax).join('\n')}`,
    {
      hint: 'check that Maven reaches its repository, then start again',
    },
  );
}

function pomOf(libraries: readonly Coordinates[]): string {
  const dependencies = libraries.map((coordinates) => {
    const [group, artifact, version] = coordinates.split(':');
    return `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>tributary</groupId><artifactId>stack</artifactId><version>1</version>
<dependencies>${dependencies.join('\n')}</dependencies>
</project>
`;
}

/** File name → SHA-256 of what was downloaded. */
async function sumsOf(folder: string): Promise<Readonly<Record<string, string>>> {
  const lib = path.join(folder, 'lib');
  const entries = (await readdir(lib)).toSorted().map(async (name) => {
    const hash = createHash('sha256');
    await pipeline(createReadStream(path.join(lib, name)), hash);
    return [name, hash.digest('hex')] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** Throws `setup-failed` that names every file that is missing, too much, or not what it should be. */
function checkSums(
  found: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
  what: string,
): void {
  const names = new Set([...Object.keys(found), ...Object.keys(wanted)]);
  const wrong = [...names].filter((name) => found[name] !== wanted[name]);
  if (wrong.length === 0) return;
  throw new PipelineError(
    'setup-failed',
    `what was downloaded for ${what} is not what it should be: ${wrong.join(', ')}`,
    { hint: 'the files were not used; check which repository Maven asks, then start again' },
  );
}

async function unpackArchives(set: JarSet, folder: string): Promise<void> {
  const lib = path.join(folder, 'lib');
  for (const archive of set.archives) {
    const [, artifact = ''] = archive.split(':');
    const file = (await readdir(lib)).find((name) => name.startsWith(`${artifact}-`)) ?? '';
    const target = path.join(folder, artifact);
    await mkdir(target);
    const result = await runProcess('tar', ['-xzf', path.join(lib, file), '-C', target]);
    if (result.exitCode !== 0) {
      throw new PipelineError('setup-failed', `${file} could not be unpacked: ${result.output}`);
    }
    await rm(path.join(lib, file));
    await removeJars(target, set.without ?? []);
  }
}

async function removeJars(folder: string, beginnings: readonly string[]): Promise<void> {
  const names = await readdir(folder, { recursive: true });
  const isLeftOut = (name: string) =>
    beginnings.some((beginning) => path.basename(name).startsWith(beginning));
  for (const name of names.filter(isLeftOut)) await rm(path.join(folder, name));
}
