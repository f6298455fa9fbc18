import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openConfluentRegistry } from '../../log/confluent/confluent-registry.ts';
import type { ConfluentRegistryConfig } from '../../runtime/config.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';
import {
  type Authority,
  createAuthority,
  type IssueOptions,
} from '../../commands/stack/certificates.ts';
import { FakeRegistry, type Fault } from '../support/fake-registry.ts';

const subject = 'app.public.items-value';
const record = (...fields: readonly object[]): string =>
  JSON.stringify({ type: 'record', name: 'Envelope', namespace: 'app.public.items', fields });
const first = record({ name: 'id', type: 'int' });
const widened = record(
  { name: 'id', type: 'int' },
  { name: 'note', type: ['null', 'string'], default: null },
);
/** Breaks BACKWARD: a new field without a default. */
const broken = record({ name: 'id', type: 'int' }, { name: 'size', type: 'int' });
const foreign = JSON.stringify({ type: 'record', name: 'Theirs', fields: [] });

const defaults: Omit<ConfluentRegistryConfig, 'url'> = {
  type: 'confluent',
  compatibility: 'keep',
  incompatible: 'evolve',
  tables: {},
  timeout: 5_000,
};

let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-registry-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

interface Setting {
  readonly fake: FakeRegistry;
  readonly registry: SchemaRegistry;
  readonly alerts: string[];
}

/** A fake registry and ours on it. */
async function withRegistry(
  config: Partial<ConfluentRegistryConfig>,
  use: (setting: Setting) => Promise<void>,
): Promise<void> {
  await using fake = await FakeRegistry.start();
  await withClient(fake, config, use);
}

async function withClient(
  fake: FakeRegistry,
  config: Partial<ConfluentRegistryConfig>,
  use: (setting: Setting) => Promise<void>,
): Promise<void> {
  const alerts: string[] = [];
  const registry = await openConfluentRegistry({
    config: { ...defaults, url: fake.url, ...config },
    onAlert: (message) => void alerts.push(message),
  });
  try {
    await use({ fake, registry, alerts });
  } finally {
    await registry.close();
  }
}

const lines = (fake: FakeRegistry): string[] =>
  fake.requests.map(({ method, path: asked }) => `${method} ${asked}`);

describe('ids and texts', () => {
  test('one text has one id under every subject, and is asked for once', () =>
    withRegistry({}, async ({ fake, registry }) => {
      expect(await registry.register(subject, first)).toBe(1);
      expect(await registry.register('app.public.other-value', first)).toBe(1);
      const asked = fake.requests.length;
      expect(await registry.register(subject, first)).toBe(1);
      expect(await registry.schemaText(1)).toBe(first);
      expect(fake.requests).toHaveLength(asked);
    }));

  test('a schema that is there already is found without being registered or checked', () =>
    withRegistry({}, async ({ fake, registry }) => {
      fake.put(subject, first);
      expect(await registry.register(subject, first)).toBe(1);
      expect(lines(fake)).toEqual([`POST /subjects/${subject}`]);
    }));

  test('a text of another program is read once; an unknown id is a typed error', () =>
    withRegistry({}, async ({ fake, registry }) => {
      fake.put('theirs', foreign);
      expect(await registry.schemaText(1)).toBe(foreign);
      expect(await registry.schemaText(1)).toBe(foreign);
      expect(fake.requests).toHaveLength(1);
      await expect(registry.schemaText(99)).rejects.toMatchObject({ kind: 'schema-unknown' });
    }));

  test('names with a slash, a space and a percent sign reach the registry whole', () =>
    withRegistry({ compatibility: 'full' }, async ({ fake, registry }) => {
      await registry.register('a/b %2F-value', first);
      expect([...fake.subjects.keys()]).toEqual(['a/b %2F-value']);
      expect([...fake.levels]).toEqual([['a/b %2F-value', 'FULL']]);
    }));
});

describe('compatibility', () => {
  test('with keep no rule is set, and what fits is registered after a check', () =>
    withRegistry({}, async ({ fake, registry, alerts }) => {
      await registry.register(subject, first);
      expect(await registry.register(subject, widened)).toBe(2);
      expect(lines(fake)).toContain(`POST /compatibility/subjects/${subject}/versions/latest`);
      expect(lines(fake).filter((line) => /^(PUT|DELETE)/.test(line))).toEqual([]);
      expect(alerts).toEqual([]);
    }));

  test.each([
    ['its own rule', 'FULL', 'FULL'],
    ['the rule of the registry', undefined, undefined],
  ])('evolve lifts %s for one registration, and tells', (_name, before, after) =>
    withRegistry({}, async ({ fake, registry, alerts }) => {
      if (before !== undefined) fake.levels.set(subject, before);
      await registry.register(subject, first);
      expect(await registry.register(subject, broken)).toBe(2);
      expect(fake.levels.get(subject)).toBe(after);
      expect(fake.subjects.get(subject)).toEqual([1, 2]);
      expect(alerts).toEqual([
        `the new schema of ${subject} is not compatible: rule ${before ?? 'BACKWARD'}: {errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field "size" has no default'}; registered all the same, as schema 2`,
      ]);
    }),
  );

  test('park registers nothing, and says what the registry said without the schemas in it', () =>
    withRegistry({}, async ({ fake, registry }) => {
      await registry.register(subject, first, 'park');
      const refused = registry.register(subject, broken, 'park');
      await expect(refused).rejects.toMatchObject({ kind: 'schema-incompatible' });
      await expect(refused).rejects.toThrow(/The field "size" has no default/);
      await expect(refused).rejects.not.toThrow(/secret/);
      expect(fake.subjects.get(subject)).toEqual([1]);
      // Nothing is remembered: once the rule is relaxed it is registered.
      fake.globalLevel = 'NONE';
      expect(await registry.register(subject, broken, 'park')).toBe(2);
    }));

  test('a registry that refuses what it found compatible is taken at its last word', () =>
    withRegistry({}, async ({ fake, registry, alerts }) => {
      await registry.register(subject, first);
      const yes: Fault = { status: 200, body: '{"is_compatible":true}' };
      fake.fault = ({ path: asked }) => (asked.startsWith('/compatibility') ? yes : undefined);
      await expect(registry.register(subject, broken, 'park')).rejects.toMatchObject({
        kind: 'schema-incompatible',
        message: expect.not.stringContaining('secret'),
      });
      expect(await registry.register(subject, broken, 'evolve')).toBe(2);
      expect(fake.levels.get(subject)).toBeUndefined();
      expect(alerts).toHaveLength(1);
    }));

  test('a level of the configuration is set once for each subject, before its first schema', () =>
    withRegistry({ compatibility: 'backward_transitive' }, async ({ fake, registry }) => {
      await registry.register(subject, first);
      await registry.register(subject, widened);
      expect([...fake.levels]).toEqual([[subject, 'BACKWARD_TRANSITIVE']]);
      expect(lines(fake).filter((line) => line.startsWith('PUT'))).toHaveLength(1);
      expect(lines(fake).indexOf(`PUT /config/${subject}`)).toBeLessThan(
        lines(fake).indexOf(`POST /subjects/${subject}/versions`),
      );
      expect(lines(fake)).toContain(`POST /compatibility/subjects/${subject}/versions`);
    }));

  test('a subject with the schema of another program is refused, or taken over with an alert', () =>
    withRegistry({}, async ({ fake, registry, alerts }) => {
      fake.globalLevel = 'NONE';
      fake.put(subject, foreign);
      await expect(registry.register(subject, first, 'park')).rejects.toThrow(
        `the new schema of ${subject} is not compatible: the subject holds schema Theirs, which another program registered`,
      );
      expect(await registry.register(subject, first, 'evolve')).toBe(2);
      expect(alerts).toEqual([expect.stringContaining('schema Theirs, which another program')]);
      expect([...fake.levels]).toEqual([]);
    }));

  test('a rule that an outage kept lifted is put back at the next registration', () =>
    withRegistry({}, async ({ fake, registry }) => {
      fake.levels.set(subject, 'FULL');
      await registry.register(subject, first);
      let hasRegistered = false;
      fake.fault = ({ method, path: asked }) => {
        const isDown = hasRegistered;
        hasRegistered ||=
          method === 'POST' && asked.endsWith('/versions') && asked.startsWith('/subjects');
        return isDown ? 'drop' : undefined;
      };
      await expect(registry.register(subject, broken)).rejects.toMatchObject({
        kind: 'registry-unreachable',
      });
      expect(fake.levels.get(subject)).toBe('NONE');
      fake.fault = () => undefined;
      expect(await registry.register(subject, broken)).toBe(2);
      expect(fake.levels.get(subject)).toBe('FULL');
    }));
});

describe('failures', () => {
  const password = 'letter-of-marque';
  const auth = { username: 'app', password };

  test.each<[string, Fault, readonly [kind: string, message: RegExp]]>([
    [
      'a cut connection',
      'drop',
      ['registry-unreachable', /cannot reach the registry at http:\S+: ECONNRESET/],
    ],
    [
      'silence',
      'hang',
      ['registry-unreachable', /gave no answer within 300 ms to looking up a schema of app/],
    ],
    [
      '503',
      { status: 503, body: '{"error_code":50301,"message":"no leader"}' },
      ['registry-unreachable', /answered 503 to .*: no leader$/],
    ],
    [
      '500 without JSON',
      { status: 500, body: '<html>' },
      ['registry-unreachable', /answered 500 to/],
    ],
    [
      '429',
      { status: 429, body: '{"error_code":42901,"message":"slow down"}' },
      ['registry-unreachable', /answered 429/],
    ],
    [
      '401',
      { status: 401, body: '{"error_code":40101,"message":"no"}' },
      ['registry-refused', /does not accept our credentials: looking up/],
    ],
    ['403', { status: 403, body: '' }, ['registry-refused', /does not allow it to us: looking up/]],
    [
      '422',
      { status: 422, body: '{"error_code":42201,"message":"invalid\\n  schema"}' },
      ['schema-rejected', /refused looking up .*\(42201\): invalid schema$/],
    ],
    [
      'a web page',
      { status: 200, body: '<html>' },
      ['registry-refused', /is no schema registry: 200 to/],
    ],
    [
      '404 of a proxy',
      { status: 404, body: '<html>' },
      ['registry-refused', /is no schema registry: 404 to/],
    ],
    ['an answer without an id', { status: 200, body: '{}' }, ['registry-refused', /without an id/]],
  ])('%s is a typed error with its reason and no secret', (_name, fault, [kind, message]) =>
    withRegistry({ auth, timeout: 300 }, async ({ fake, registry }) => {
      fake.fault = () => fault;
      const failed = registry.register(subject, first);
      await expect(failed).rejects.toMatchObject({ kind });
      await expect(failed).rejects.toThrow(message);
      const error = await failed.catch((caught: unknown) => caught);
      expect(JSON.stringify([String(error), error])).not.toContain(password);
      fake.fault = () => undefined;
      expect(await registry.register(subject, first)).toBe(1);
    }),
  );

  test('a slow answer within the limit is waited for', () =>
    withRegistry({ timeout: 2_000 }, async ({ fake, registry }) => {
      fake.fault = () => ({ delayMs: 200 });
      expect(await registry.register(subject, first)).toBe(1);
    }));

  test('a registry that is down when it is opened is found when it comes; what is known needs it no more', () =>
    withRegistry({}, async ({ fake, registry }) => {
      await fake.down();
      await expect(registry.register(subject, first)).rejects.toMatchObject({
        kind: 'registry-unreachable',
        message: expect.stringContaining('ECONNREFUSED'),
      });
      await fake.up();
      expect(await registry.register(subject, first)).toBe(1);
      await fake.down();
      expect(await registry.register(subject, first)).toBe(1);
      expect(await registry.schemaText(1)).toBe(first);
      await expect(registry.schemaText(2)).rejects.toMatchObject({ kind: 'registry-unreachable' });
    }));

  test('closing ends a request that is under way', () =>
    withRegistry({ timeout: 60_000 }, async ({ fake, registry }) => {
      const arrived = Promise.withResolvers<undefined>();
      fake.fault = () => {
        arrived.resolve(undefined);
        return 'hang';
      };
      const pending = registry.schemaText(7);
      pending.catch(() => undefined);
      await arrived.promise;
      await registry.close();
      await expect(pending).rejects.toMatchObject({ kind: 'registry-unreachable' });
    }));
});

describe('who we are', () => {
  const sent = (fake: FakeRegistry) => new Set(fake.requests.map((seen) => seen.authorization));

  test('user and password go as basic authentication, from the configuration or the address', async () => {
    const basic = `Basic ${Buffer.from('app:pä:ss').toString('base64')}`;
    const auth = { username: 'app', password: 'pä:ss' };
    await withRegistry({ auth }, async ({ fake, registry }) => {
      await registry.register(subject, first);
      expect(sent(fake)).toEqual(new Set([basic]));
    });
    await using fake = await FakeRegistry.start();
    const url = fake.url.replace('//', '//app:p%C3%A4%3Ass@');
    await withClient(fake, { url }, async ({ registry }) => {
      await registry.register(subject, first);
      expect(sent(fake)).toEqual(new Set([basic]));
      await fake.down();
      await expect(registry.schemaText(9)).rejects.toMatchObject({
        message: expect.not.stringMatching(/app:|ss@/),
      });
    });
  });

  test('a bearer token is sent; one in a file is read again after it was replaced', async () => {
    await withRegistry({ auth: { token: 'fixed' } }, async ({ fake, registry }) => {
      await registry.register(subject, first);
      expect(sent(fake)).toEqual(new Set(['Bearer fixed']));
    });
    const file = path.join(dir, 'token');
    await writeFile(file, 'one\n');
    await withRegistry({ auth: { token_file: file } }, async ({ fake, registry }) => {
      fake.fault = ({ authorization }) =>
        authorization === 'Bearer two' ? undefined : { status: 401, body: '' };
      await expect(registry.register(subject, first)).rejects.toMatchObject({
        kind: 'registry-refused',
      });
      await writeFile(file, 'two\n');
      expect(await registry.register(subject, first)).toBe(1);
      await rm(file);
      await expect(registry.schemaText(5)).rejects.toMatchObject({ kind: 'registry-unreachable' });
    });
  });
});

describe('TLS', () => {
  let ca: Authority;
  let other: Authority;
  beforeAll(async () => {
    ca = await createAuthority(path.join(dir, 'ca'), 'ca');
    other = await createAuthority(path.join(dir, 'other'), 'other');
  });

  /** Certificate and key as text. */
  const issue = async (name: string, options: Partial<IssueOptions> = {}, from = ca) => {
    const alternatives = ['DNS:localhost'];
    const { certFile, keyFile } = await from.issue({ name, alternatives, ...options });
    return { cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8') };
  };

  const refused = (tls: ConfluentRegistryConfig['tls'], fake: FakeRegistry, message: RegExp) =>
    withClient(fake, { tls }, async ({ registry }) => {
      const failed = registry.register(subject, first);
      await expect(failed).rejects.toMatchObject({ kind: 'registry-refused' });
      await expect(failed).rejects.toThrow(message);
    });

  test('our own authority is trusted; another, none, a wrong host and an expired certificate are told apart', async () => {
    await using fake = await FakeRegistry.start(await issue('server'));
    await withClient(fake, { tls: { ca_file: ca.caFile } }, async ({ registry }) => {
      expect(await registry.register(subject, first)).toBe(1);
    });
    await refused({ ca_file: other.caFile }, fake, /an authority that we do not trust$/);
    await refused(undefined, fake, /an authority that we do not trust$/);
    await refused({ ca_file: ca.caFile, server_name: 'elsewhere' }, fake, /for another host name$/);
    await fake.renew(await issue('old', { isExpired: true }));
    await refused({ ca_file: ca.caFile }, fake, /its certificate has expired$/);
    await fake.renew(await issue('elsewhere', { alternatives: ['DNS:elsewhere'] }));
    await refused({ ca_file: ca.caFile }, fake, /its certificate is for another host name$/);
    const tls = { ca_file: ca.caFile, server_name: 'elsewhere' };
    await withClient(fake, { tls }, async ({ registry }) => {
      expect(await registry.schemaText(1)).toBe(first);
    });
    await using plain = await FakeRegistry.start();
    const url = plain.url.replace('http:', 'https:');
    await withClient(plain, { url }, async ({ registry }) => {
      await expect(registry.schemaText(1)).rejects.toThrow(/does not speak TLS on this port/);
    });
  });

  test('our certificate is shown, and read again when it was renewed', async () => {
    const trusted = await readFile(ca.caFile, 'utf8');
    await using fake = await FakeRegistry.start({
      ...(await issue('mutual')),
      ca: trusted,
      requestCert: true,
      rejectUnauthorized: true,
    });
    await refused({ ca_file: ca.caFile }, fake, /it asks for a certificate of ours/);
    const [certFile, keyFile] = [path.join(dir, 'ours.pem'), path.join(dir, 'ours.key')];
    const use = async (issued: { readonly cert: string; readonly key: string }) => {
      await writeFile(certFile, issued.cert);
      await writeFile(keyFile, issued.key);
    };
    await use(await issue('stranger', {}, other));
    const tls = { ca_file: ca.caFile, cert_file: certFile, key_file: keyFile };
    await withClient(fake, { tls }, async ({ registry }) => {
      await expect(registry.register(subject, first)).rejects.toMatchObject({
        message: expect.stringMatching(/no TLS connection|ECONNRESET/),
      });
      await use(await issue('ours'));
      expect(await registry.register(subject, first)).toBe(1);
    });
  });
});
