import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AwsClient,
  ExternalAccountAuthorizedUserClient,
  IdentityPoolClient,
  JWT,
  PassThroughClient,
  PluggableAuthClient,
  UserRefreshClient,
} from 'google-auth-library';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { authClientOf } from './credentials.ts';

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tributary-credentials-'));
  file = join(folder, 'key.json');
});
afterAll(() => rm(folder, { recursive: true }));
const printed = vi.spyOn(console, 'warn');
const warned = vi.spyOn(process, 'emitWarning');
afterEach(() => vi.clearAllMocks());

const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});
const key = {
  type: 'service_account',
  client_email: 'tributary@shop.iam.gserviceaccount.com',
  private_key: privateKey,
  quota_project_id: 'billing',
};
const user = { client_id: 'id', client_secret: 'word', refresh_token: 'token' };
const federation = {
  type: 'external_account',
  audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  token_url: 'https://sts.googleapis.com/v1/token',
  service_account_impersonation_url:
    'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.iam.gserviceaccount.com:generateAccessToken',
  credential_source: { file: '/run/token' },
};
const aws = {
  environment_id: 'aws1',
  region_url: 'http://169.254.169.254/latest/meta-data/placement/availability-zone',
  regional_cred_verification_url: 'https://sts.{region}.amazonaws.com',
};

async function clientOf(content: object | string) {
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return authClientOf({ credentialsFile: file });
}

it.for([
  ['the key of a service account', key, JWT],
  ['a user', { type: 'authorized_user', ...user }, UserRefreshClient],
  ['a federation with a token in a file', federation, IdentityPoolClient],
  ['a federation with AWS', { ...federation, credential_source: aws }, AwsClient],
  [
    'a federation with a program',
    { ...federation, credential_source: { executable: { command: '/bin/token' } } },
    PluggableAuthClient,
  ],
  [
    'a federated user',
    {
      type: 'external_account_authorized_user',
      ...user,
      token_url: 'https://sts.googleapis.com/v1/oauthtoken',
    },
    ExternalAccountAuthorizedUserClient,
  ],
] as const)('%s is asked as itself, and nothing is printed', async ([, json, constructor]) => {
  expect(await clientOf(json)).toBeInstanceOf(constructor);
  expect([printed.mock.calls, warned.mock.calls]).toEqual([[], []]);
});

it('an account asks for BigQuery alone, also one that another acts for', async () => {
  const scopes = ['https://www.googleapis.com/auth/bigquery'];
  expect(await clientOf(key)).toMatchObject({ email: key.client_email, scopes });
  expect(await clientOf(key)).toMatchObject({ quotaProjectId: 'billing' });
  const federated = (await clientOf(federation)) as IdentityPoolClient;
  expect(federated.scopes).toEqual(scopes);
  expect(federated.getServiceAccountEmail()).toBe('a@b.iam.gserviceaccount.com');
});

it('nobody asks at an endpoint of one’s own, and this machine where nothing is said', () => {
  expect(authClientOf({ endpoint: 'http://localhost:9050' })).toBeInstanceOf(PassThroughClient);
  expect(authClientOf({})).toBeUndefined();
});

it.for([
  ['broken JSON', '{"type": "service_account", "private_key": "secret', 'is not an object of JSON'],
  ['other text', 'secret', 'is not an object of JSON'],
  ['a list', '["secret"]', 'has no type'],
  ['the id of a program', { installed: { client_secret: 'secret' } }, 'has no type'],
  ['an unknown kind', { type: 'toString', private_key: 'secret' }, 'has type "toString"'],
  ['a key without its account', { ...key, client_email: '' }, 'has no client_email'],
  [
    'a key that is cut off',
    { ...key, private_key: 'secret' },
    'is of type service_account and has a private_key that cannot be used',
  ],
  [
    'a federation without a source',
    { ...federation, credential_source: { secret: 'secret' } },
    'is of type external_account and has fields that cannot be used',
  ],
] as const)('%s is refused by name, and not quoted', async ([, content, why]) => {
  const refused = await clientOf(content).catch((error: unknown) => error);
  expect(refused).toMatchObject({
    kind: 'sink-denied',
    message: expect.stringContaining(`sinks.<name>.credentials_file: ${file} ${why}`) as string,
    hint: expect.stringContaining('JSON key of a service account') as string,
  });
  expect(`${String(refused)} ${JSON.stringify(refused)}`).not.toContain('"secret"');
  expect((refused as Error).cause).toBeUndefined();
  expect(printed.mock.calls).toEqual([]);
});

it('a file that is not there, or is a folder, is refused by name', () => {
  for (const [path, code] of [
    [join(folder, 'none.json'), 'ENOENT'],
    [folder, 'EISDIR'],
  ] as const) {
    expect(() => authClientOf({ credentialsFile: path })).toThrow(
      `${path} cannot be read (${code})`,
    );
  }
});
