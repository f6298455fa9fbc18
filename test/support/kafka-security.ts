import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createAuthority, type Identity } from '../../commands/stack/certificates.ts';
import type { KafkaSecurity } from '../../commands/stack/kafka-settings.ts';

/** Certificates of one run: what to trust, who we are, and everything that has to be refused. */
export interface TestCertificates {
  readonly caFile: string;
  /** An authority that nobody trusts. */
  readonly foreignCaFile: string;
  /** For localhost and 127.0.0.1. */
  readonly server: Identity;
  /** Of a client called `app`. */
  readonly client: Identity;
  /** A client `app` of the foreign authority. */
  readonly foreignClient: Identity;
  readonly wrongHost: Identity;
  readonly expired: Identity;
  readonly foreignServer: Identity;
}

/** Made by openssl in the folder. */
export async function createTestCertificates(folder: string): Promise<TestCertificates> {
  const here = ['DNS:localhost', 'IP:127.0.0.1'];
  const [own, foreign] = await Promise.all([
    createAuthority(path.join(folder, 'own'), 'tributary-test-ca'),
    createAuthority(path.join(folder, 'foreign'), 'foreign-ca'),
  ]);
  return {
    caFile: own.caFile,
    foreignCaFile: foreign.caFile,
    server: await own.issue({ name: 'server', alternatives: here }),
    client: await own.issue({ name: 'app' }),
    wrongHost: await own.issue({ name: 'elsewhere', alternatives: ['DNS:elsewhere.example'] }),
    expired: await own.issue({ name: 'expired', alternatives: here, isExpired: true }),
    foreignServer: await foreign.issue({ name: 'server', alternatives: here }),
    foreignClient: await foreign.issue({ name: 'app' }),
  };
}

/** SASL_SSL for user `app`, and the listeners WRONG_HOST, EXPIRED and FOREIGN, whose certificates do not fit. */
export function testSecurity(
  certificates: TestCertificates,
  options: { readonly password: string; readonly hasAcls?: boolean },
): KafkaSecurity {
  const { caFile, server, wrongHost, expired, foreignServer } = certificates;
  return {
    caFile,
    server,
    users: { app: options.password },
    hasAcls: options.hasAcls ?? false,
    others: { WRONG_HOST: wrongHost, EXPIRED: expired, FOREIGN: foreignServer },
  };
}

/** A token without a signature, as the test broker takes it. */
export function unsignedToken(subject: string, lifetimeSeconds = 300): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  return `${part({ alg: 'none' })}.${part({ sub: subject, iat: now, exp: now + lifetimeSeconds })}.`;
}

export const readPem = (file: string): Promise<string> => readFile(file, 'utf8');
