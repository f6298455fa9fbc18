import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { createLogger } from '../../runtime/logger.ts';
import { supervise, type RoleSpec, type SupervisorOptions } from './supervisor.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-supervisor-'));
afterAll(() => rmSync(folder, { recursive: true }));

const moduleUrl = (path: string) =>
  JSON.stringify(pathToFileURL(join(import.meta.dirname, path)).href);
let scriptCount = 0;

/** A role from a few lines of code, with what a real one uses at hand. */
function script(body: string): RoleSpec['command'] {
  scriptCount += 1;
  const path = join(folder, `role-${scriptCount}.ts`);
  writeFileSync(
    path,
    `import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
     import { PipelineError } from ${moduleUrl('../../runtime/errors.ts')};
     import { reportError } from ${moduleUrl('../../runtime/report-error.ts')};
     import { listenForShutdown } from ${moduleUrl('../../runtime/shutdown.ts')};
     import { tellSupervisor } from ${moduleUrl('./child-link.ts')};
     const folder = ${JSON.stringify(folder)};
     const fail = (error) => {
       const report = reportError(error);
       tellSupervisor({ type: 'failed', report });
       process.exitCode = report.exit;
       process.disconnect();
     };
     const untilDrained = async (name) => {
       using shutdown = listenForShutdown({ graceMs: 10_000, notify: () => {} });
       writeFileSync(folder + '/' + name, String(process.pid));
       const alive = setInterval(() => {}, 1_000);
       if (!shutdown.signal.aborted) await new Promise((done) => shutdown.signal.addEventListener('abort', done));
       clearInterval(alive);
       writeFileSync(folder + '/' + name + '.drained', '');
       if (process.connected) process.disconnect();
     };
     ${body}`,
  );
  return [process.execPath, path];
}

function setUp(roles: readonly RoleSpec[], more: Partial<SupervisorOptions> = {}) {
  const lines: string[] = [];
  const stream = new Writable({
    write: (chunk, _encoding, done) => (lines.push(String(chunk)), done()),
  });
  const controller = new AbortController();
  const options: SupervisorOptions = {
    roles,
    env: { PATH: process.env['PATH'] },
    logger: createLogger({ level: 'trace', format: 'json', stream }),
    signal: controller.signal,
    graceMs: 10_000,
    retry: { firstDelayMs: 1, longestDelayMs: 5, giveUpAfterMs: 60_000 },
    onProgress: () => {},
    ...more,
  };
  return { lines, controller, ended: supervise(options) };
}

const appears = (name: string) =>
  vi.waitUntil(() => existsSync(join(folder, name)), { timeout: 20_000, interval: 10 });
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('a role that ends', () => {
  test('by a kill is started again', async () => {
    const { controller, ended, lines } = setUp([
      {
        role: 'lake',
        command: script(
          `if (existsSync(folder + '/killed')) await untilDrained('second-life'); else { writeFileSync(folder + '/killed', ''); process.kill(process.pid, 'SIGKILL'); }`,
        ),
      },
    ]);
    await appears('second-life');
    controller.abort();
    await ended;
    expect(lines.join('')).toContain('lake was ended by SIGKILL; started again in');
  });

  test('for a passing reason is started again', async () => {
    const { controller, ended } = setUp([
      {
        role: 'lake',
        command: script(
          `if (existsSync(folder + '/locked')) await untilDrained('unlocked'); else { writeFileSync(folder + '/locked', ''); fail(new PipelineError('sink-locked', 'held')); }`,
        ),
      },
    ]);
    await appears('unlocked');
    controller.abort();
    await ended;
    expect(existsSync(join(folder, 'unlocked.drained'))).toBe(true);
  });

  test('for any other reason drains all the others, and its failure is the answer', async () => {
    const { ended } = setUp([
      { role: 'other', command: script(`await untilDrained('other');`) },
      {
        role: 'lake',
        command: script(
          `while (!existsSync(folder + '/other')) await new Promise((done) => setTimeout(done, 5)); fail(new PipelineError('sink-fenced', 'epoch 3 took over'));`,
        ),
      },
    ]);
    await expect(ended).rejects.toMatchObject({
      kind: 'sink-fenced',
      message: 'lake: epoch 3 took over',
    });
    expect(existsSync(join(folder, 'other.drained'))).toBe(true);
  });

  test('by a defect stops everything with its text', async () => {
    const { ended } = setUp([{ role: 'lake', command: script(`throw new TypeError('defect');`) }]);
    await expect(ended).rejects.toMatchObject({ kind: 'role-broken' });
  });

  test('again and again is given up in the end', async () => {
    const { ended } = setUp(
      [{ role: 'lake', command: script(`fail(new PipelineError('sink-locked', 'held'));`) }],
      {
        retry: { firstDelayMs: 1, longestDelayMs: 1, giveUpAfterMs: 0 },
      },
    );
    await expect(ended).rejects.toMatchObject({ kind: 'sink-locked' });
  });
});

test('an abort drains every role and then ends', async () => {
  const { controller, ended } = setUp([
    { role: 'a', command: script(`await untilDrained('a');`) },
    { role: 'b', command: script(`await untilDrained('b');`) },
  ]);
  await Promise.all([appears('a'), appears('b')]);
  controller.abort();
  await ended;
  expect([existsSync(join(folder, 'a.drained')), existsSync(join(folder, 'b.drained'))]).toEqual([
    true,
    true,
  ]);
});

test('a role that does not drain is killed after the grace', async () => {
  const { controller, ended } = setUp(
    [
      {
        role: 'deaf',
        command: script(
          `process.on('SIGTERM', () => {}); writeFileSync(folder + '/deaf', ''); setInterval(() => {}, 1_000);`,
        ),
      },
    ],
    { graceMs: 50 },
  );
  await appears('deaf');
  controller.abort();
  await expect(ended).resolves.toBeUndefined();
});

test('work that is done now and then goes on after a failure', async () => {
  const { controller, ended, lines } = setUp([
    {
      role: 'models',
      everyMs: 1,
      command: script(
        `appendFileSync(folder + '/builds', 'x'); fail(new PipelineError('models-failed', 'dbt said no'));`,
      ),
    },
  ]);
  await vi.waitUntil(() => existsSync(join(folder, 'builds')) && read('builds').length >= 2, {
    timeout: 20_000,
  });
  controller.abort();
  await ended;
  expect(lines.join('')).toContain('models: dbt said no');
});

test('log lines and progress of a role come through with its name', async () => {
  const progress: string[] = [];
  const { controller, ended, lines } = setUp(
    [
      {
        role: 'lake',
        command: script(`
          console.error(JSON.stringify({ level: 40, msg: 'late', table: 'public.a' }));
          console.log('plain words');
          tellSupervisor({ type: 'progress', text: '5 rows' });
          await untilDrained('talker');`),
      },
    ],
    { onProgress: (role, text) => progress.push(`${role}: ${text}`) },
  );
  await appears('talker');
  controller.abort();
  await ended;
  const entries = lines.map((line) => JSON.parse(line) as unknown);
  expect(entries).toContainEqual(
    expect.objectContaining({ level: 40, role: 'lake', msg: 'late', table: 'public.a' }),
  );
  expect(entries).toContainEqual(
    expect.objectContaining({ level: 30, role: 'lake', msg: 'plain words' }),
  );
  expect(progress).toEqual(['lake: 5 rows']);
});

test('no role outlives a supervisor that was killed', async () => {
  const role = script(`await untilDrained('orphan');`);
  const path = join(folder, 'supervisor.ts');
  writeFileSync(
    path,
    `import { supervise } from ${moduleUrl('./supervisor.ts')};
     import { createLogger } from ${moduleUrl('../../runtime/logger.ts')};
     await supervise({
       roles: [{ role: 'orphan', command: ${JSON.stringify(role)} }],
       env: process.env,
       logger: createLogger({ level: 'silent', format: 'json' }),
       signal: new AbortController().signal,
       graceMs: 1_000,
       retry: { firstDelayMs: 1, longestDelayMs: 1, giveUpAfterMs: 0 },
       onProgress: () => {},
     });`,
  );
  const supervisor = spawn(process.execPath, [path], { stdio: 'ignore' });
  await vi.waitUntil(() => existsSync(join(folder, 'orphan')) && read('orphan') !== '', {
    timeout: 20_000,
  });
  const orphan = Number(read('orphan'));
  supervisor.kill('SIGKILL');
  await once(supervisor, 'exit');
  await vi.waitUntil(() => !isAlive(orphan), { timeout: 20_000, interval: 10 });
  expect(existsSync(join(folder, 'orphan.drained'))).toBe(true);
});
