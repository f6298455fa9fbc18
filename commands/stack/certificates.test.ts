import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createAuthority } from './certificates.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-certificates-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(dir, { recursive: true, force: true });
});

test('without openssl it says what to install', async () => {
  vi.stubEnv('PATH', dir);
  await expect(createAuthority(dir, 'ca')).rejects.toMatchObject({
    kind: 'setup-failed',
    message: 'openssl could not be started',
    hint: expect.stringContaining('install openssl'),
  });
});
