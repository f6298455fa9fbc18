import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  type AnyAuthClient,
  AwsClient,
  ExternalAccountAuthorizedUserClient,
  IdentityPoolClient,
  JWT,
  PassThroughClient,
  PluggableAuthClient,
  UserRefreshClient,
} from 'google-auth-library';
import { PipelineError } from '../../runtime/errors.ts';

export interface Access {
  readonly endpoint?: string | undefined;
  readonly credentialsFile?: string | undefined;
}

/** Enough for statements, loads and streamed rows. https://developers.google.com/identity/protocols/oauth2/scopes#bigquery */
const scopes = ['https://www.googleapis.com/auth/bigquery'];

/**
 * Who asks: whom the file names, nobody at an endpoint of one's own, else (undefined) whom this machine has
 * credentials of. Throws `sink-denied` for a file that is of no use, without anything of its content.
 */
export function authClientOf({ credentialsFile, endpoint }: Access): AnyAuthClient | undefined {
  if (credentialsFile !== undefined) return readCredentials(credentialsFile);
  return endpoint === undefined ? undefined : new PassThroughClient();
}

type Json = Readonly<Record<string, unknown>>;
/** What a constructor of the library takes; the file says the same in its own names. */
type Options<T extends new (options: never) => AnyAuthClient> = ConstructorParameters<T>[0];

interface Kind {
  /** Fields without which it cannot be used. */
  readonly needs: readonly string[];
  /** May throw what quotes the file. */
  readonly client: (json: Json) => AnyAuthClient;
}

/**
 * Each kind has the constructor of its own, as the library wants it: it warns of its methods that take any.
 * https://cloud.google.com/docs/authentication/external/externally-sourced-credentials
 */
const kinds: Readonly<Record<string, Kind>> = {
  service_account: {
    needs: ['client_email', 'private_key'],
    client(json) {
      createPrivateKey(String(json['private_key']));
      const client = new JWT({ scopes });
      client.fromJSON(json);
      return client;
    },
  },
  authorized_user: {
    needs: ['client_id', 'client_secret', 'refresh_token'],
    client(json) {
      const client = new UserRefreshClient();
      client.fromJSON(json);
      return client;
    },
  },
  external_account: {
    needs: ['audience', 'subject_token_type', 'credential_source'],
    client(json) {
      const source = json['credential_source'] as Json;
      const options: unknown = { ...json, scopes };
      if ('environment_id' in source) return new AwsClient(options as Options<typeof AwsClient>);
      if ('executable' in source) {
        return new PluggableAuthClient(options as Options<typeof PluggableAuthClient>);
      }
      return new IdentityPoolClient(options as Options<typeof IdentityPoolClient>);
    },
  },
  external_account_authorized_user: {
    needs: ['client_id', 'client_secret', 'refresh_token', 'token_url'],
    client(json) {
      const options: unknown = json;
      return new ExternalAccountAuthorizedUserClient(
        options as Options<typeof ExternalAccountAuthorizedUserClient>,
      );
    },
  },
};

function readCredentials(file: string): AnyAuthClient {
  const json = parse(file, readText(file));
  const { type } = json;
  const kind = typeof type === 'string' && Object.hasOwn(kinds, type) ? kinds[type] : undefined;
  if (kind === undefined) {
    const given = typeof type === 'string' ? `type ${JSON.stringify(type)}` : 'no type';
    throw unfit(file, `has ${given}, none of ${Object.keys(kinds).join(', ')}`);
  }
  const missing = kind.needs.filter((name) => (json[name] ?? '') === '');
  if (missing.length > 0) throw unfit(file, `has no ${missing.join(', ')}`);
  try {
    return kind.client(json);
  } catch {
    const what = kind === kinds['service_account'] ? 'a private_key' : 'fields';
    throw unfit(file, `is of type ${String(type)} and has ${what} that cannot be used`);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw unfit(file, `cannot be read (${code})`);
  }
}

function parse(file: string, text: string): Json {
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === 'object' && json !== null) return json as Json;
  } catch {
    // Its message quotes the file.
  }
  throw unfit(file, 'is not an object of JSON');
}

const unfit = (file: string, why: string): PipelineError =>
  new PipelineError('sink-denied', `sinks.<name>.credentials_file: ${file} ${why}`, {
    hint: 'give the JSON key of a service account or the file that `gcloud iam workload-identity-pools create-cred-config` writes; for any other kind leave it out and set GOOGLE_APPLICATION_CREDENTIALS',
    context: { file },
  });
