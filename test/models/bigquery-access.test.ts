import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bigqueryLake } from '../../models/bigquery-lake.ts';
import { lacksLocalBigQuery } from '../support/local-bigquery/environment.ts';
import { startLocalBigQuery } from '../support/local-bigquery/local-bigquery.ts';
import { RequestRecorder } from '../support/request-recorder.ts';
import type { TestBigQuery } from '../support/test-bigquery.ts';
import { runDbt } from './run-dbt.ts';

const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});
const bigqueryScope = 'https://www.googleapis.com/auth/bigquery';
const user = { client_id: 'id', client_secret: 'secret-word', refresh_token: 'secret-refresh' };
const exchanged = 'secret-exchanged';
const impersonated = 'secret-impersonated';

const lacking = await lacksLocalBigQuery();

let dir: string;
let server: TestBigQuery;
let recorder: RequestRecorder;

/** Google's token services. */
function tokens({ path }: { readonly path: string }): object | undefined {
  if (path === '/token') {
    const issued_token_type = 'urn:ietf:params:oauth:token-type:access_token';
    return { access_token: exchanged, token_type: 'Bearer', expires_in: 3600, issued_token_type };
  }
  if (!path.endsWith(':generateAccessToken')) return undefined;
  return { accessToken: impersonated, expireTime: '2100-01-01T00:00:00Z' };
}

const federation = () => ({
  type: 'external_account',
  audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  token_url: `${recorder.url}/token`,
  credential_source: { file: path.join(dir, 'token') },
});

/** What dbt asks, and how, when it tries its connection with the file. */
async function tryConnection(name: string, json: object) {
  const folder = await mkdtemp(path.join(dir, 'project-'));
  const credentialsFile = path.join(dir, `${name}.json`);
  await writeFile(credentialsFile, JSON.stringify(json));
  const lake = bigqueryLake({
    project: server.project,
    dataset: server.dataset,
    location: 'EU',
    endpoint: recorder.url,
    credentialsFile,
    query: async () => [],
  });
  const profile = { tributary: { target: 'lake', outputs: { lake: lake.profile('analytics') } } };
  await writeFile(path.join(folder, 'profiles.yml'), JSON.stringify(profile));
  const project = { name: 'access', version: '1.0.0', profile: 'tributary' };
  await writeFile(path.join(folder, 'dbt_project.yml'), JSON.stringify(project));
  recorder.requests.length = 0;
  const env = { ...lake.env, HTTPS_PROXY: recorder.url, https_proxy: recorder.url };
  const said = await runDbt({ ...lake, env }, folder, ['debug']);
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const texts = await Promise.all(
    files
      .filter((file) => file.isFile())
      .map((file) => readFile(path.join(file.parentPath, file.name), 'utf8')),
  );
  return {
    requests: [...recorder.requests],
    jobs: recorder.queryJobs,
    told: [said, ...texts].join(''),
  };
}

describe.skipIf(lacking !== null)(
  `dbt at local-bigquery${lacking === null ? '' : ` (${lacking})`}`,
  () => {
    beforeAll(async () => {
      dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-access-'));
      server = await startLocalBigQuery();
      recorder = await RequestRecorder.start(server.url, tokens);
      await writeFile(path.join(dir, 'token'), 'secret-subject');
    });
    afterAll(async () => {
      await recorder?.[Symbol.asyncDispose]();
      await server?.[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    });

    test.each([
      [
        'the key of a service account',
        () => ({
          type: 'service_account',
          client_email: 'tributary@shop.iam.gserviceaccount.com',
          private_key: privateKey,
          token_uri: `${recorder.url}/token`,
        }),
        exchanged,
      ],
      [
        'a user',
        // The service's own address is asked for the next token: this one is still good.
        () => ({
          type: 'authorized_user',
          ...user,
          token: 'secret-user',
          expiry: '2100-01-01T00:00:00Z',
        }),
        'secret-user',
      ],
      ['a federation', federation, exchanged],
      [
        'a federation as a service account',
        () => ({
          ...federation(),
          service_account_impersonation_url: `${recorder.url}/v1/projects/-/serviceAccounts/a@b.iam.gserviceaccount.com:generateAccessToken`,
        }),
        impersonated,
      ],
      [
        'a federated user',
        () => ({
          type: 'external_account_authorized_user',
          ...user,
          token_url: `${recorder.url}/token`,
          token_info_url: `${recorder.url}/info`,
        }),
        exchanged,
      ],
    ])('dbt asks BigQuery as %s, and tells nothing of the file', async (name, json, token) => {
      const { requests, jobs, told } = await tryConnection(name, json());
      expect(told).toContain('All checks passed!');
      expect(jobs.map(({ jobReference }) => jobReference?.location)).toEqual(['EU']);
      const asked = requests.filter((one) => one.path.startsWith('/bigquery/'));
      expect(new Set(asked.map(({ authorization }) => authorization))).toEqual(
        new Set([`Bearer ${token}`]),
      );
      expect(told).not.toMatch(/secret-|PRIVATE KEY/);
    });

    test('a federation is asked for BigQuery only', async () => {
      const { requests } = await tryConnection('scope', federation());
      const exchange = requests.find((one) => one.path === '/token');
      const form = new URLSearchParams(exchange?.body);
      expect(form.get('subject_token')).toBe('secret-subject');
      expect(form.get('scope')).toBe(bigqueryScope);
      // Its project is known: to ask for it there takes a permission of its own.
      const elsewhere = requests
        .filter(({ method }) => method === 'CONNECT')
        .map((one) => one.path);
      expect(elsewhere).not.toContain('cloudresourcemanager.googleapis.com:443');
    });
  },
);
