import { readFileSync } from 'node:fs';
import type { SecureContextOptions } from 'node:tls';
import type { KafkaLogConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';

export interface TlsOptions extends Pick<SecureContextOptions, 'ca' | 'cert' | 'key'> {
  readonly servername?: string;
}

/** TLS options with the files as they are now; undefined without TLS. Throws `log-denied`. */
export function readTls({ tls }: KafkaLogConfig): TlsOptions | undefined {
  if (tls === undefined) return undefined;
  const { ca_file, cert_file, key_file, server_name } = tls;
  return {
    ...(ca_file === undefined ? {} : { ca: readPem(ca_file) }),
    ...(cert_file === undefined ? {} : { cert: readPem(cert_file) }),
    ...(key_file === undefined ? {} : { key: readPem(key_file) }),
    ...(server_name === undefined ? {} : { servername: server_name }),
  };
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new PipelineError('log-denied', `the certificate file ${file} cannot be read`, { cause });
  }
}

export interface Token {
  readonly value: string;
}

const tokenTimeoutMs = 10_000;

/** A token for OAUTHBEARER, got with the client's credentials (RFC 6749, section 4.4). Throws `log-denied`. */
export async function fetchToken({ sasl }: KafkaLogConfig): Promise<Token> {
  const { token_url: url = '', username = '', password = '', scope } = sasl ?? {};
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    ...(scope ? { scope } : {}),
  });
  const credentials = Buffer.from(
    `${encodeURIComponent(username)}:${encodeURIComponent(password)}`,
  );
  const failed = (what: string, cause?: unknown) =>
    new PipelineError('log-denied', `no token from ${url}: ${what}`, {
      hint: 'check log.sasl.token_url, username and password',
      ...(cause === undefined ? {} : { cause }),
    });
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Basic ${credentials.toString('base64')}` },
    body,
    signal: AbortSignal.timeout(tokenTimeoutMs),
  }).catch((cause: unknown) => {
    throw failed('it cannot be reached', cause);
  });
  if (!response.ok) throw failed(`it answered ${response.status}`);
  const answer = (await response.json().catch(() => ({}))) as { access_token?: unknown };
  if (typeof answer.access_token !== 'string') throw failed('its answer has no access_token');
  return { value: answer.access_token };
}
