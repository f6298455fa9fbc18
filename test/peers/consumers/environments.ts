import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchJars } from '../../../commands/stack/jars.ts';
import { findJava } from '../../../commands/stack/java.ts';
import { findPython } from '../../../models/find-python.ts';
import { ensureCachedFolder } from '../../../runtime/cached-folder.ts';
import { runProcess } from '../../../runtime/run-process.ts';

const projectRoot = fileURLToPath(new URL('../../..', import.meta.url));
const own = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** Runs a Python program of this folder beside Confluent's client; gives its JSON lines. */
export async function runPython(
  program: string,
  args: readonly string[],
): Promise<readonly unknown[]> {
  const folder = await confluentEnvironment();
  return linesOf(path.join(folder, 'bin', 'python'), [own(program), ...args]);
}

/** Confluent's client for Python, in the versions of the lock file, kept in the cache. */
async function confluentEnvironment(): Promise<string> {
  const lockPath = own('requirements.lock.txt');
  const hash = createHash('sha256').update(await readFile(lockPath));
  return ensureCachedFolder({
    projectRoot,
    name: `confluent-${hash.digest('hex').slice(0, 12)}`,
    what: "Confluent's client for Python",
    works: async (folder) => existsSync(path.join(folder, 'bin', 'python')),
    build: async (folder) => {
      const python = await findPython(process.env);
      await succeed(python.path, ['-m', 'venv', folder]);
      const pip = ['-m', 'pip', 'install', '--quiet', '--no-deps', '-r', lockPath];
      await succeed(path.join(folder, 'bin', 'python'), pip);
    },
  });
}

/** Runs a Java source file of this folder beside Kafka Connect and Debezium; gives its JSON lines. */
export async function runJava(
  program: string,
  args: readonly string[],
): Promise<readonly unknown[]> {
  const java = await findJava(17);
  const [connect, debezium] = [await fetchJars('connect'), await fetchJars('debezium')];
  const jars = [
    path.join(connect, 'lib', '*'),
    path.join(debezium, 'debezium-connector-postgres', 'debezium-connector-postgres', '*'),
    path.join(debezium, 'apicurio-registry-distro-connect-converter', '*'),
  ].join(path.delimiter);
  // What it prints is UTF-8 whatever the locale; Java 17 has another name for that than later ones.
  const output = ['-Dstdout.encoding=UTF-8', '-Dsun.stdout.encoding=UTF-8'];
  const settings = ['-XX:TieredStopAtLevel=1', '-Dorg.slf4j.simpleLogger.defaultLogLevel=error'];
  return linesOf(java.path, [...settings, ...output, '-cp', jars, own(program), ...args]);
}

async function linesOf(program: string, args: readonly string[]): Promise<readonly unknown[]> {
  const lines: unknown[] = [];
  await succeed(program, args, (line) => {
    if (line.startsWith('{')) lines.push(JSON.parse(line));
  });
  return lines;
}

async function succeed(
  program: string,
  args: readonly string[],
  onLine: (line: string) => void = () => undefined,
): Promise<void> {
  const { exitCode, output } = await runProcess(program, args, { onLine });
  if (exitCode !== 0) throw new Error(`${program} ended with ${exitCode}: ${output.slice(-2000)}`);
}
