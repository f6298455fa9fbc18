import type { Config } from './config.ts';

/** Makes a text safe to show. */
export type Redact = (text: string) => string;

/** A shorter secret is found by its place in a URL only: replacing every "a" would blank out the whole log. */
const secretLengthMin = 4;
const mask = '***';

/**
 * Replaces passwords by `***`: those inside URLs and connection strings, and the given secrets wherever
 * they stand, also as JSON or a URL spells them.
 */
export function createRedact(secrets: Iterable<string> = []): Redact {
  const spellings = [...secrets]
    .filter((secret) => secret.length >= secretLengthMin)
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)])
    .toSorted((left, right) => right.length - left.length);
  return (text) => {
    let shown = text
      .replaceAll(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@"']*):[^\s@"']*@/gi, `$1:${mask}@`)
      .replaceAll(/\b(password|passwd|pwd)=[^\s&"']+/gi, `$1=${mask}`);
    for (const secret of new Set(spellings)) shown = shown.replaceAll(secret, mask);
    return shown;
  };
}

/** Everything in a configuration that must never be shown. */
export function secretsOfConfig({ source, log, registry }: Config): string[] {
  const sasl = log.type === 'kafka' ? log.sasl?.password : undefined;
  const auth = registry.type === 'confluent' ? registry.auth : undefined;
  const address = registry.type === 'confluent' ? secretsOfUrl(registry.url) : [];
  const given = [sasl, auth?.password, auth?.token].filter((secret) => secret !== undefined);
  return [...secretsOfUrl(source.url), ...address, ...given];
}

/** The password inside a URL, as written and decoded: what must never be shown. */
export function secretsOfUrl(text: string): string[] {
  if (!URL.canParse(text)) return [];
  const url = new URL(text);
  const passwords = [url.password, url.searchParams.get('password') ?? ''].filter(
    (password) => password !== '',
  );
  return passwords.flatMap((password) => [password, decode(password)]);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
