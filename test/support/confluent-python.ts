import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findPython } from '../../models/find-python.ts';
import { ownPythonEnv } from '../../models/python-environment.ts';
import { ensureCachedFolder } from '../../runtime/cached-folder.ts';
import { runProcess } from '../../runtime/run-process.ts';

const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const lockFile = fileURLToPath(new URL('../peers/requirements.lock.txt', import.meta.url));

/** A Python that has Confluent's own Kafka client, made on first use and kept in the cache. */
export async function confluentPython(): Promise<string> {
  const lock = await readFile(lockFile, 'utf8');
  const hash = createHash('sha256').update(`${process.platform}-${process.arch}\n${lock}`);
  const pythonIn = (folder: string) => path.join(folder, 'bin', 'python');
  const folder = await ensureCachedFolder({
    projectRoot,
    name: `confluent-python-${hash.digest('hex').slice(0, 12)}`,
    what: "Confluent's Kafka client",
    works: async (at) => existsSync(pythonIn(at)),
    build: async (at) => {
      const base = await findPython(process.env);
      await run(base.path, '-m', 'venv', at);
      await run(pythonIn(at), '-m', 'pip', 'install', '--quiet', '--no-deps', '-r', lockFile);
    },
  });
  return pythonIn(folder);
}

async function run(...[command, ...words]: readonly [string, ...string[]]): Promise<void> {
  const { exitCode, output } = await runProcess(command, words, { env: ownPythonEnv(process.env) });
  if (exitCode !== 0) throw new Error(`${command} ended with code ${exitCode}: ${output}`);
}
