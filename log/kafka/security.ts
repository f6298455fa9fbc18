import { readFile } from 'node:fs/promises';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { ConnectionSecurity, SaslSettings, TlsSettings } from './client.ts';

type TlsConfig = NonNullable<KafkaLogConfig['tls']>;
type SaslConfig = NonNullable<KafkaLogConfig['sasl']>;

const tokenTimeoutMs = 10_000;
/** A token is used for this share of the time that it is good for. */
const tokenLifeShare = 0.8;
/** When the token server does not say how long a token is good. */
const tokenLifeDefaultSeconds = 300;

/**
 * Reads what the configuration names, each time it is called: a connection that opens after a
 * certificate or password file has changed uses the new one. Throws `log-denied` when a file cannot be
 * read or a field is missing, and when a password would go over an open connection.
 */
export function connectionSecurity(config: KafkaLogConfig): () => Promise<ConnectionSecurity> {
  const tokens = new TokenSource();
  return async () => {
    const { tls, sasl } = config;
    const isOpen = tls === undefined && sasl?.allow_plain_text !== true;
    if (sasl?.mechanism === 'plain' && isOpen) {
      throw new PipelineError('log-denied', 'the password would be sent unencrypted', {
        hint: 'add log.tls, or use scram-sha-512 (log.sasl.allow_plain_text: true only for tests)',
      });
    }
    return {
      tls: tls === undefined ? null : await tlsSettings(tls),
      sasl: sasl === undefined ? null : await saslSettings(sasl, tokens),
    };
  };
}

async function tlsSettings(tls: TlsConfig): Promise<TlsSettings> {
  const [ca, cert, key] = await Promise.all([
    tls.ca_file === undefined ? undefined : readNamed(tls.ca_file, 'log.tls.ca_file'),
    tls.cert_file === undefined ? undefined : readNamed(tls.cert_file, 'log.tls.cert_file'),
    tls.key_file === undefined ? undefined : readNamed(tls.key_file, 'log.tls.key_file'),
  ]);
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(tls.server_name === undefined ? {} : { servername: tls.server_name }),
  };
}

async function saslSettings(sasl: SaslConfig, tokens: TokenSource): Promise<SaslSettings> {
  const mechanism = sasl.mechanism ?? 'scram-sha-512';
  const username = sasl.username ?? missing('username');
  const password =
    sasl.password_file === undefined
      ? (sasl.password ?? missing('password or password_file'))
      : firstLine(await readNamed(sasl.password_file, 'log.sasl.password_file'));
  if (mechanism === 'oauthbearer') {
    const url = sasl.token_url ?? missing('token_url');
    const scope = sasl.scope ?? '';
    return { mechanism, token: () => tokens.get({ url, scope, username, password }) };
  }
  return {
    mechanism: mechanism as 'plain' | 'scram-sha-256' | 'scram-sha-512',
    username,
    password,
  };
}

function missing(field: string): never {
  throw new PipelineError('log-denied', `log.sasl.${field} is missing`, {
    hint: `give log.sasl.${field}`,
  });
}

const firstLine = (text: string): string => text.split(/\r?\n/, 1)[0] ?? '';

async function readNamed(path: string, field: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new PipelineError('log-denied', `${field}: ${path} cannot be read`, {
      hint: `make ${path} readable for this user, or correct ${field}`,
      cause: error,
    });
  }
}

interface TokenRequest {
  readonly url: string;
  readonly scope: string;
  readonly username: string;
  readonly password: string;
}

/** Tokens by OAuth 2 client credentials (RFC 6749, 4.4), kept while they are good. */
class TokenSource {
  #token: { readonly text: string; readonly password: string; readonly untilMs: number } | null =
    null;

  async get(request: TokenRequest): Promise<string> {
    const known = this.#token;
    if (known !== null && known.password === request.password && Date.now() < known.untilMs) {
      return known.text;
    }
    const { text, lifeSeconds } = await fetchToken(request);
    const untilMs = Date.now() + lifeSeconds * 1000 * tokenLifeShare;
    this.#token = { text, password: request.password, untilMs };
    return text;
  }
}

async function fetchToken({ url, scope, username, password }: TokenRequest) {
  const secret = Buffer.from(`${encodeURIComponent(username)}:${encodeURIComponent(password)}`);
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    ...(scope === '' ? {} : { scope }),
  });
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Basic ${secret.toString('base64')}` },
      body,
      signal: AbortSignal.timeout(tokenTimeoutMs),
    });
  } catch (error) {
    throw new PipelineError('log-unreachable', `the token server ${url} does not answer`, {
      hint: 'check log.sasl.token_url and that this machine reaches it',
      cause: error,
    });
  }
  const answer = (await response.json().catch(() => null)) as Record<string, unknown> | null;
  const text = answer?.['access_token'];
  if (!response.ok || typeof text !== 'string') {
    const kind = response.status >= 500 ? 'log-unreachable' : 'log-denied';
    throw new PipelineError(kind, `the token server ${url} gave no token: ${response.status}`, {
      hint: 'check log.sasl.username, password and scope',
    });
  }
  const life = Number(answer?.['expires_in'] ?? tokenLifeDefaultSeconds);
  return { text, lifeSeconds: life > 0 ? life : tokenLifeDefaultSeconds };
}
