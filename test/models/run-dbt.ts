import path from 'node:path';
import type { ModelsLake } from '../../models/lake.ts';
import { ensurePythonEnvironment, ownPythonEnv } from '../../models/python-environment.ts';
import { runProcess } from '../../runtime/run-process.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');

/** Runs dbt in a project folder that holds its own profile; gives what it said, or throws with that. */
export async function runDbt(
  { engine, env }: Pick<ModelsLake, 'engine' | 'env'>,
  folder: string,
  words: readonly string[],
): Promise<string> {
  const { python } = await ensurePythonEnvironment({ projectRoot, engine });
  const where = ['--project-dir', folder, '--profiles-dir', folder];
  const { exitCode, output } = await runProcess(
    python,
    ['-m', 'dbt.cli.main', '--no-use-colors', ...words, ...where],
    { cwd: folder, env: { ...ownPythonEnv(process.env), DO_NOT_TRACK: '1', ...env } },
  );
  if (exitCode !== 0) throw new Error(`dbt ended with ${exitCode}:\n${output.slice(-6000)}`);
  return output;
}
