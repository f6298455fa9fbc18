import { PipelineError } from '../../runtime/errors.ts';

/** What the registry answered with, other than success. */
export interface RegistryRefusal {
  readonly status: number;
  /** Its `error_code`, e.g. 40403; 0 when the answer is not of a registry's form. */
  readonly code: number;
  readonly message: string;
}

const reasonLengthMax = 400;

const denied: Readonly<Record<number, string>> = {
  401: 'does not accept our credentials',
  403: 'does not allow it to us',
};

/** Failures of TLS, by Node's code: none of them passes by itself. */
const tlsReasons: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself alone',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate comes from an authority that we do not trust',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate comes from an authority that we do not trust',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate comes from an authority that we do not trust',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate comes from an authority that we do not trust',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not trust the authority of our certificate',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it asks for a certificate of ours',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS on this port',
};

const tlsHints: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID:
    'use the host name of its certificate in registry.url, or set registry.tls.server_name',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'set registry.tls.cert_file and registry.tls.key_file',
  ERR_SSL_WRONG_VERSION_NUMBER: 'write registry.url with http:// or the port of its TLS listener',
};

/** What went wrong on the way to the registry at `url` → PipelineError. */
export function translateFailure(url: string, error: unknown): PipelineError {
  if (error instanceof PipelineError) return error;
  const code = codeOf(error);
  const tls =
    tlsReasons[code] ?? (/^(ERR_SSL_|ERR_TLS_|CERT_|EPROTO$)/.test(code) ? code : undefined);
  if (tls !== undefined) {
    return new PipelineError(
      'registry-refused',
      `no TLS connection to the registry at ${url}: ${tls}`,
      {
        hint:
          tlsHints[code] ??
          'set registry.tls.ca_file to the authority of its certificate, or renew that',
        context: { url, code },
      },
    );
  }
  const reason = code === '' ? 'the connection broke' : code;
  return new PipelineError(
    'registry-unreachable',
    `cannot reach the registry at ${url}: ${reason}`,
    {
      context: { url, code },
    },
  );
}

/** The registry took longer than `timeoutMs`. */
export function noAnswer(url: string, what: string, timeoutMs: number): PipelineError {
  const text = `the registry at ${url} gave no answer within ${timeoutMs} ms to ${what}`;
  return new PipelineError('registry-unreachable', text, { context: { url, timeoutMs } });
}

/** An answer that says no → PipelineError. `what` names what was asked, e.g. "registering under app.public.t-value". */
export function translateRefusal(
  url: string,
  what: string,
  { status, code, message }: RegistryRefusal,
): PipelineError {
  const context = { url, status, code };
  const access = denied[status];
  if (access !== undefined) {
    return new PipelineError('registry-refused', `the registry at ${url} ${access}: ${what}`, {
      hint: 'check registry.auth, and what its user may do with our subjects',
      context,
    });
  }
  const reason = shortReason(message);
  if (status === 429 || status === 408 || status >= 500) {
    const text = `the registry at ${url} answered ${status} to ${what}${reason}`;
    return new PipelineError('registry-unreachable', text, { context });
  }
  if (code === 0) {
    const text = `what answers at ${url} is no schema registry: ${status} to ${what}`;
    return new PipelineError('registry-refused', text, {
      hint: 'correct registry.url, with the path if there is one, e.g. http://host:8081/apis/ccompat/v7',
      context,
    });
  }
  if (status === 409) {
    const text = `the registry finds the schema incompatible, ${what}${reason}`;
    return new PipelineError('schema-incompatible', text, { context });
  }
  return new PipelineError('schema-rejected', `the registry refused ${what} (${code})${reason}`, {
    context,
  });
}

/** The registry's words in one line. What it quotes of older schemas is left out: it is long, and known. */
export function shortReason(message: string): string {
  const line = message
    .replaceAll(/\{\s*"?(oldSchema|validateFields|compatibility)[\s\S]*$/g, '')
    .replaceAll(/\s+/g, ' ')
    .replace(/[\s,[]+$/, '');
  if (line === '') return '';
  return `: ${line.length > reasonLengthMax ? `${line.slice(0, reasonLengthMax)}…` : line}`;
}

/** The code of an error, or of the first of several attempts (one an address of the host). */
function codeOf(error: unknown): string {
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  if (!(error instanceof Error)) return '';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code !== 'EPROTO') return code;
  // The handshake failed on our side; OpenSSL's reason is in the text alone.
  const [, reason = ''] = /SSL routines:[^:]*:([^:]+):/.exec(error.message) ?? [];
  return reason === '' ? code : `ERR_SSL_${reason.toUpperCase().replaceAll(' ', '_')}`;
}
