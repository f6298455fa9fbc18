import { globSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runProcess } from '../../runtime/run-process.ts';
import {
  modelsPermissions,
  type Permissions,
  readerPermissions,
  sinkPermissions,
} from '../../sinks/bigquery/permissions.ts';

const folder = import.meta.dirname;
const read = (file: string) => readFileSync(path.join(folder, file), 'utf8');

interface Locals {
  readonly permissions: {
    readonly project: readonly string[];
    readonly sink: Readonly<Record<string, readonly string[]>>;
    readonly reader: readonly string[];
    readonly models: readonly string[];
  };
}

/** The lists of `permissions.tf`, which has nothing but maps and lists of strings: one step from JSON. */
function readLists(): Locals['permissions'] {
  const json = read('permissions.tf')
    .replaceAll(/^\s*#.*$/gm, '')
    .replace('locals {', '{')
    .replaceAll(/([\w-]+) += /g, '"$1": ')
    .replaceAll(/,(\s*\])/g, '$1')
    .replaceAll(/([\]}])(\s*")/g, '$1,$2');
  return (JSON.parse(json) as Locals).permissions;
}

describe('the permissions that Terraform grants', () => {
  const lists = readLists();
  const ours: readonly Permissions[] = [
    ...Object.values(sinkPermissions),
    readerPermissions,
    modelsPermissions,
  ];

  test('are those that the code asks for, for each role and mode', () => {
    const dataset = ({ dataset }: Permissions) => dataset;
    expect(lists.sink).toEqual(
      Object.fromEntries(
        Object.entries(sinkPermissions).map(([mode, own]) => [mode, dataset(own)]),
      ),
    );
    expect(lists.reader).toEqual(readerPermissions.dataset);
    expect(lists.models).toEqual(modelsPermissions.dataset);
    for (const { project } of ours) expect(lists.project).toEqual(project);
  });

  test('let nobody change who has access, make or drop a dataset, or see the jobs of others', () => {
    const all = ours.flatMap(({ project, dataset }) => [...project, ...dataset]);
    expect(
      all.filter((one) => /IamPolicy|datasets\.(create|delete|update)|listAll/.test(one)),
    ).toEqual([]);
  });
});

test('every variable of the module says what it is, and those with a form check it', () => {
  const variables = [...read('variables.tf').matchAll(/^variable "(\w+)" \{\n(.*?)^\}/gms)];
  expect(variables.length).toBeGreaterThan(8);
  for (const [, name, body = ''] of variables) {
    expect(body, name).toMatch(/^ {2}description += ".{20,}"$/m);
    expect(body, name).toMatch(/^ {2}validation \{$/m);
  }
});

const hasTerraform = spawnSync('terraform', ['version']).status === 0;

// Without the provider, which comes from the network, Terraform can say that the files are well formed
// and evaluate what needs no resource.
describe.skipIf(!hasTerraform)(`the module${hasTerraform ? '' : ' (terraform is missing)'}`, () => {
  let dir: string;
  // A person's own settings may ask for plugins.
  const env = { ...process.env, TF_CLI_CONFIG_FILE: os.devNull, CHECKPOINT_DISABLE: '1' };
  beforeAll(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-terraform-'));
    for (const file of ['variables.tf', 'permissions.tf']) {
      await cp(path.join(folder, file), path.join(dir, file));
    }
    const blocks = globSync('*.tf', { cwd: folder })
      .filter((file) => file !== 'permissions.tf')
      .flatMap((file) => [...read(file).matchAll(/^locals \{\n.*?^\}/gms)].map(([block]) => block));
    await writeFile(path.join(dir, 'locals.tf'), blocks.join('\n'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  /** The value of an expression with these variables, or what Terraform says against them. */
  async function evaluate(expression: string, variables: Readonly<Record<string, unknown>>) {
    const given = { project_id: 'my-project', location: 'EU', ...variables };
    await writeFile(path.join(dir, 'given.auto.tfvars.json'), JSON.stringify(given));
    await writeFile(path.join(dir, 'expression'), `jsonencode(${expression})\n`);
    const { output } = await runProcess('sh', ['-c', 'terraform console -no-color < expression'], {
      cwd: dir,
      env,
    });
    const value = output.split('\n').find((line) => line.startsWith('"'));
    // It goes on behind a variable that it refuses.
    const isRefused = output.includes('Invalid value for variable');
    return value === undefined || isRefused
      ? output
      : (JSON.parse(JSON.parse(value) as string) as unknown);
  }

  test('is formatted, and so well formed', async () => {
    const { exitCode, output } = await runProcess('terraform', ['fmt', '-check', '-diff', folder], {
      env,
    });
    expect(exitCode, output).toBe(0);
  });

  test('takes its defaults, and gives the sink the permissions of its mode', async () => {
    expect(await evaluate('local.models_datasets', {})).toEqual([
      'analytics',
      'analytics_staging',
      'analytics_intermediate',
    ]);
    const stream = await evaluate('local.permissions.sink[var.mode]', { mode: 'stream' });
    expect(stream).toEqual(sinkPermissions.stream.dataset);
  });

  test('has no builder without models', async () => {
    expect(await evaluate('local.accounts', { models_dataset_id: null })).toEqual([
      'reader',
      'sink',
    ]);
  });

  test('binds each federated subject to the accounts that it is named for, and lets in no other', async () => {
    const federation = { issuer: 'https://tokens.example.com', sink: ['a', 'b'], models: ['a'] };
    expect(await evaluate('keys(local.federated)', { federation })).toEqual([
      'models a',
      'sink a',
      'sink b',
    ]);
    expect(await evaluate('local.federated_subjects', { federation })).toEqual(['a', 'b']);
  });

  test.each([
    ['project_id', 'My Project'],
    ['location', 'europe'],
    ['dataset_id', 'a-b'],
    ['models_dataset_id', 'a.b'],
    ['mode', 'streaming'],
    ['name', 'x'],
    ['labels', { Team: 'a' }],
    ['kms_key', 'my-key'],
    ['time_travel_hours', 50],
    ['readers', ['analysts@example.com']],
    ['gke', { project_id: 'p', namespace: 'Not Good' }],
    ['federation', { issuer: 'http://tokens.example.com' }],
  ])('refuses a %s that is none', async (name, value) => {
    expect(await evaluate('1', { [name]: value })).toMatch(
      new RegExp(`Invalid value for variable[^]*var\\.${name}`),
    );
  });
});
