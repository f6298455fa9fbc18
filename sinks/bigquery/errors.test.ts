import { expect, it } from 'vitest';
import { PipelineError } from '../../runtime/errors.ts';
import { errorOfProto, reasonOf, translateBigqueryError } from './errors.ts';

const place = { project: 'p', dataset: 'd' };

it.for([
  ['quotaExceeded', 'sink-failed', 'backoff'],
  ['rateLimitExceeded', 'sink-failed', 'backoff'],
  ['backendError', 'sink-failed', 'backoff'],
  ['accessDenied', 'sink-denied', 'never'],
  ['billingNotEnabled', 'sink-denied', 'never'],
  ['notFound', 'sink-refused', 'never'],
  ['invalidQuery', 'sink-refused', 'never'],
] as const)('%s is %s, retried: %s', ([reason, kind, retry]) => {
  const error = errorOfProto({ reason, message: 'said' }, place);
  expect([error.kind, error.policy.retry, reasonOf(error)]).toEqual([kind, retry, reason]);
});

it.for([
  'Query error: Transaction is aborted due to concurrent update against table p:d.t. Transaction ID: 6 at [3:1]',
  'Could not serialize access to table p:d.t due to concurrent update',
])('a statement that met another one is tried again: %s', (message) => {
  const error = errorOfProto({ reason: 'invalidQuery', message }, place);
  expect([error.kind, error.policy.retry]).toEqual(['sink-failed', 'backoff']);
  expect(error.message).toContain('p:d.t');
});

it('a text that can quote a row is neither in the message nor in the cause', () => {
  const error = errorOfProto({ reason: 'invalid', message: 'bad value "secret"' }, place);
  expect([error.message, error.cause]).toEqual([expect.not.stringContaining('secret'), undefined]);
});

it('an HTTP status, a lost connection and a token are translated; a defect of ours is not', () => {
  const of = (fields: object, message = 'x') =>
    translateBigqueryError(Object.assign(new Error(message), fields), place);
  expect(reasonOf(of({ code: 503 }))).toBe('backendError');
  expect(reasonOf(of({ code: 409, errors: [{ reason: 'duplicate' }] }))).toBe('duplicate');
  expect(reasonOf(of({ code: 'ECONNRESET' }))).toBe('unreachable');
  expect(reasonOf(of({}, 'invalid_grant: token expired'))).toBe('unauthorized');
  expect(of({ code: 'ENOENT' }, "no such file, open '/key.json'")).toMatchObject({
    kind: 'sink-denied',
    message: expect.stringContaining("open '/key.json'") as string,
  });
  expect(of({ code: 'ERR_OSSL_UNSUPPORTED' })).toMatchObject({
    kind: 'sink-denied',
    message: expect.stringContaining('the private key of the credentials') as string,
  });
  const broken = translateBigqueryError(new SyntaxError('Unexpected token p, "private"'), place);
  expect(broken).toMatchObject({
    kind: 'sink-denied',
    message: expect.stringContaining('the credentials file is not JSON') as string,
  });
  expect(of({}, 'x is not a function')).not.toBeInstanceOf(PipelineError);
});

it.for([
  ['quotaExceeded', 'Quota exceeded', 'sink-failed', ['spacing.least', 'batch.rows']],
  ['rateLimitExceeded', 'Exceeded rate limits', 'sink-failed', ['spacing.least']],
  ['notFound', 'Not found: Dataset p:d', 'sink-refused', ['project', 'dataset', 'location']],
  ['accessDenied', 'Access Denied: Table p:d.t', 'sink-denied', ['project', 'credentials_file']],
  ['authError', 'Invalid Credentials', 'sink-denied', ['credentials_file']],
  [
    'invalid',
    'Provided Schema does not match Table p:d.t',
    'sink-refused',
    ['location', 'kms_key'],
  ],
  ['invalidQuery', 'Unrecognized name: x', 'sink-refused', ['dataset']],
  ['billingNotEnabled', 'Billing has not been enabled', 'sink-denied', ['project']],
  ['billingTierLimitExceeded', 'Query exceeded limit', 'sink-denied', ['budget']],
  ['resourcesExceeded', 'Resources exceeded', 'sink-failed', ['batch.rows', 'batch.size']],
  ['notFound', 'Dataset p:d was not found in location EU', 'sink-refused', ['location']],
  [
    'invalid',
    'Cannot read and write in different locations: source: EU',
    'sink-refused',
    ['location'],
  ],
] as const)('the hint of %s (%s) names settings to change', ([reason, message, kind, names]) => {
  const error = errorOfProto({ reason, message }, place);
  expect(error.kind).toBe(kind);
  for (const name of names) expect(error.hint).toContain(`sinks.<name>.${name}`);
});

it('a dataset that is not in a location is told apart from a table that is not there', () => {
  const message = 'Not found: Dataset p:d was not found in location EU';
  const error = errorOfProto({ reason: 'notFound', message }, place);
  expect(error.message).toContain('in that location');
});
