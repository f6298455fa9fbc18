import { readFileSync, statSync } from 'node:fs';
import { Agent as HttpsAgent } from 'node:https';
import type { ConfluentRegistryConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';

type Auth = ConfluentRegistryConfig['auth'];
type Tls = ConfluentRegistryConfig['tls'];

/** A file that may be replaced while we run: read again when its time or size changed. */
class WatchedFile {
  readonly #path: string;
  #stamp = '';
  #content = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  /** Names the content: another one after each change. Throws `registry-unreachable`: who replaces a file may be at it. */
  get stamp(): string {
    this.content();
    return this.#stamp;
  }

  content(): Buffer {
    try {
      const { mtimeMs, size, ino } = statSync(this.#path);
      const stamp = `${mtimeMs}:${size}:${ino}`;
      if (stamp !== this.#stamp) {
        this.#content = readFileSync(this.#path);
        this.#stamp = stamp;
      }
      return this.#content;
    } catch (cause) {
      throw new PipelineError('registry-unreachable', `${this.#path} cannot be read`, {
        hint: 'registry.auth and registry.tls name this file: make it readable for this user',
        cause,
      });
    }
  }
}

/** Gives the Authorization header as it is now; null when no credentials are configured. */
export function authorization(auth: Auth, url: URL): () => string | null {
  const { username, password, token, token_file: tokenFile } = auth ?? {};
  if (tokenFile !== undefined) {
    const file = new WatchedFile(tokenFile);
    return () => `Bearer ${(file.content().toString('utf8').split('\n')[0] ?? '').trim()}`;
  }
  if (token !== undefined) return () => `Bearer ${token}`;
  const user = username ?? decodeURIComponent(url.username);
  if (user === '') return () => null;
  const secret = password ?? decodeURIComponent(url.password);
  const header = `Basic ${Buffer.from(`${user}:${secret}`).toString('base64')}`;
  return () => header;
}

/** Gives the agent for TLS, a new one after a certificate file was replaced. */
export function tlsAgent(tls: Tls): () => HttpsAgent {
  const { ca_file: ca, cert_file: cert, key_file: key, server_name: servername } = tls ?? {};
  const files = Object.entries({ ca, cert, key }).flatMap(([name, path]) =>
    path === undefined ? [] : [[name, new WatchedFile(path)] as const],
  );
  let stamps: string | null = null;
  let agent = new HttpsAgent();
  return () => {
    const now = files.map(([, file]) => file.stamp).join('\n');
    if (now !== stamps) {
      agent = new HttpsAgent({
        ...Object.fromEntries(files.map(([name, file]) => [name, file.content()])),
        ...(servername === undefined ? {} : { servername }),
      });
      stamps = now;
    }
    return agent;
  };
}
