import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, expect, test } from 'vitest';
import { runCli } from './run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-config-command-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'tributary.yaml');
writeFileSync(file, 'source: { url: ${DATABASE_URL} }\nlog: { type: embedded }\n');

async function answerOf(...words: string[]): Promise<string> {
  const chunks: string[] = [];
  const stdout = new Writable({
    write: (chunk, _encoding, done) => (chunks.push(String(chunk)), done()),
  });
  const env = { DATABASE_URL: 'postgres://app:open-sesame@db.example/shop', SHORT: 'pw1' };
  expect(await runCli(['config', ...words], { stdout, stderr: process.stderr, env })).toBe(0);
  return chunks.join('');
}

test('config shows every default and no secret', async () => {
  const shown = await answerOf('--config', file);
  expect(shown).toContain('url: postgres://app:***@db.example/shop');
  expect(shown).toContain(`path: ${join(folder, 'data', 'log')}`);
  expect(await answerOf('--config', file, '--json')).not.toContain('open-sesame');
});

test('config shows no secret of Kafka or the registry, however short, from the file or beside it', async () => {
  const kafka = join(folder, 'kafka.yaml');
  writeFileSync(join(folder, 'word'), 'from-a-file\n');
  writeFileSync(
    kafka,
    `source: { url: \${DATABASE_URL} }
log: { type: kafka, tls: {}, sasl: { mechanism: plain, username: app, password: \${SHORT} } }
registry: { type: confluent, url: "http://localhost:8081", auth: { username: app, password_file: word } }
`,
  );
  const shown = await answerOf('--config', kafka);
  expect(shown).toContain('username: app');
  expect(shown).not.toMatch(/pw1|from-a-file/);
});

test('config --reference prints the reference without any configuration', async () => {
  const reference = readFileSync(new URL('../deploy/configuration.md', import.meta.url), 'utf8');
  expect(await answerOf('--reference')).toContain(reference.trim());
});
