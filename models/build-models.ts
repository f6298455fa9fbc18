import { rm } from 'node:fs/promises';
import path from 'node:path';
import { PipelineError } from '../runtime/errors.ts';
import { writeDbtProject, writeIfDifferent } from './dbt-project.ts';
import { readDbtEvent } from './dbt-events.ts';
import { type NodeResult, readRunResults, withoutValues } from './dbt-results.ts';
import type { Lake, ModelsLake } from './lake.ts';
import type { Mapping } from './mapping.ts';
import { ensurePythonEnvironment, ownPythonEnv } from './python-environment.ts';
import { runProcess } from '../runtime/run-process.ts';
import { generateStaging } from './staging.ts';
import type { TemplateValue } from './staging/sql-text.ts';

export interface BuildModelsOptions {
  /** The checkout, which holds `dbt/`. */
  readonly projectRoot: string;
  /** A DuckDB lake has been lent by the caller: nobody else has it open while this runs. */
  readonly lake: ModelsLake;
  readonly mapping: Mapping;
  /** Kept between runs: the generated project, dbt's logs and what it parsed. */
  readonly workDir: string;
  /** Schema of the marts; staging and intermediate models go to `<schema>_staging`, `<schema>_intermediate`. */
  readonly schema?: string;
  /** Variables of the project, see `dbt/dbt_project.yml`. */
  readonly vars?: Readonly<Record<string, string | number | boolean>>;
  /** Builds incremental models anew from the whole log. */
  readonly fullRefresh?: boolean;
  /** Leaves the data tests out. */
  readonly skipTests?: boolean;
  /** Only these models, as dbt's `--select` takes them; all when left out. */
  readonly select?: string;
  readonly onProgress?: (progress: BuildProgress) => void;
  readonly signal?: AbortSignal;
}

export interface BuildProgress {
  readonly done: number;
  /** 0 while nothing is known. */
  readonly total: number;
  readonly message: string;
}

export interface BuildReport {
  /** No model and no test failed. */
  readonly isGood: boolean;
  readonly models: readonly ModelResult[];
  readonly tests: readonly NodeResult[];
  /** Mapped tables that the lake does not hold. */
  readonly missingTables: readonly string[];
  readonly seconds: number;
  /** The dbt project as it was run. */
  readonly projectFolder: string;
}

export interface ModelResult extends NodeResult {
  /** Null for a view. */
  readonly rows: number | null;
}

const failuresShownMax = 5;

/**
 * Builds the models of a lake: generates staging from the mapping, runs dbt, and reports on every model
 * and test. Failed models and tests are in the report (see `requireGood`); throws `models-failed` when
 * dbt could not run at all, `setup-failed` without its environment, `sink-locked` when the lake is not lent.
 */
export async function buildModels(options: BuildModelsOptions): Promise<BuildReport> {
  const startedAt = performance.now();
  const schema = options.schema ?? 'analytics';
  const say = (message: string) => options.onProgress?.({ done: 0, total: 0, message });
  const python = await ensurePythonEnvironment({
    projectRoot: options.projectRoot,
    engine: options.lake.engine,
    onProgress: say,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const lake = await options.lake.read(Object.keys(options.mapping.tables));
  const folder = path.resolve(options.workDir, 'dbt');
  const missingTables = await writeProject({ options, schema, lake, folder });
  say('dbt reads the project');
  const output = await runDbt(python.python, folder, options);
  const results = await readRunResults(path.join(folder, 'target'));
  if (results === null) throw couldNotRun(output);
  const built = results.flatMap(({ kind, status, relation }) =>
    kind === 'model' && status === 'success' && relation !== null ? [schemaOf(relation)] : [],
  );
  const counts = await options.lake.readRowCounts([...new Set(built)]);
  return {
    isGood: results.every((result) => result.status === 'success' || result.status === 'warn'),
    models: results
      .filter((result) => result.kind === 'model')
      .map((result) => ({ ...result, rows: counts.get(result.relation ?? '') ?? null })),
    tests: results.filter((result) => result.kind === 'test'),
    missingTables,
    seconds: (performance.now() - startedAt) / 1000,
    projectFolder: folder,
  };
}

/** `analytics.dim_masters` → `analytics` */
const schemaOf = (relation: string): string => relation.slice(0, relation.indexOf('.'));

/** Throws `models-failed` naming the first failures, if there are any. */
export function requireGood(report: BuildReport): void {
  if (report.isGood) return;
  const all = [...report.models, ...report.tests];
  const failed = all.filter((result) => result.status === 'error' || result.status === 'failed');
  const shown = failed
    .slice(0, failuresShownMax)
    .map((result) => `${result.name}: ${result.message ?? result.status}`);
  throw new PipelineError(
    'models-failed',
    `${failed.length} of ${all.length} models and tests failed: ${shown.join('; ')}`,
    { hint: `see ${path.join(report.projectFolder, 'logs', 'dbt.log')}` },
  );
}

interface ProjectInput {
  readonly options: BuildModelsOptions;
  readonly schema: string;
  readonly lake: Lake;
  readonly folder: string;
}

async function writeProject({
  options,
  schema,
  lake,
  folder,
}: ProjectInput): Promise<readonly string[]> {
  const staging = generateStaging({ mapping: options.mapping, ...lake });
  const source = path.join(options.projectRoot, 'dbt');
  await writeDbtProject({ source, folder, generated: staging.files });
  await writeIfDifferent(path.join(folder, 'profiles.yml'), profile(options.lake.profile(schema)));
  return staging.missing;
}

/** JSON is YAML. */
function profile(lake: Readonly<Record<string, TemplateValue>>): string {
  return `${JSON.stringify({ tributary: { target: 'lake', outputs: { lake } } }, null, 2)}\n`;
}

async function runDbt(
  python: string,
  folder: string,
  options: BuildModelsOptions,
): Promise<string> {
  // What an earlier run left must not pass for this one's.
  await rm(path.join(folder, 'target', 'run_results.json'), { force: true });
  const args = ['-m', 'dbt.cli.main', 'build', '--project-dir', folder, '--profiles-dir', folder];
  args.push(
    '--log-format',
    'json',
    '--log-format-file',
    'text',
    '--partial-parse',
    '--no-version-check',
  );
  args.push('--vars', JSON.stringify({ ...options.lake.vars, ...options.vars }));
  if (options.fullRefresh === true) args.push('--full-refresh');
  if (options.skipTests === true) args.push('--exclude-resource-type', 'test');
  if (options.select !== undefined) args.push('--select', options.select);
  const said: string[] = [];
  // dbt numbers them as they begin; they end in another order.
  let done = 0;
  const onLine = (line: string) => {
    const event = readDbtEvent(line);
    if (event === null) said.push(line);
    else if (event.level === 'error') said.push(event.message);
    if (event !== null && event.isResult) options.onProgress?.({ ...event, done: (done += 1) });
  };
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  const env = { ...dbtEnvironment(), ...options.lake.env };
  await runProcess(python, args, { cwd: folder, env, onLine, ...signal }).catch(
    (cause: unknown) => {
      options.signal?.throwIfAborted();
      throw new PipelineError('models-failed', 'dbt could not be started', { cause });
    },
  );
  return said.slice(-failuresShownMax * 4).join('\n');
}

/** Nothing is sent anywhere. */
function dbtEnvironment(): NodeJS.ProcessEnv {
  const quiet = { DBT_SEND_ANONYMOUS_USAGE_STATS: 'False', DO_NOT_TRACK: '1' };
  return { ...ownPythonEnv(process.env), ...quiet, PYTHONUTF8: '1', PYTHONSAFEPATH: '1' };
}

function couldNotRun(output: string): PipelineError {
  return new PipelineError('models-failed', `dbt could not run: ${withoutValues(output)}`);
}
