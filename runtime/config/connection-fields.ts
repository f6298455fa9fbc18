import { z } from 'zod';
import { flag, optionalText } from './fields.ts';

/** TLS towards a server: shared by the blocks of Kafka and of the registry. */
export const tlsSchema = z.strictObject({
  ca_file: optionalText({
    description:
      'Certificates of the authorities to trust, PEM; without it those that Node brings. Read again when the file changes.',
    unit: 'path',
    example: './tls/ca.pem',
  }),
  cert_file: optionalText({
    description: 'Our certificate for mutual TLS, PEM. Read again when the file changes.',
    unit: 'path',
    example: './tls/client.pem',
  }),
  key_file: optionalText({
    description: 'The private key of `cert_file`, PEM.',
    unit: 'path',
    example: './tls/client.key',
  }),
  server_name: optionalText({
    description:
      "Name that the server's certificate must have; without it the host of its address.",
    unit: 'host name',
    example: 'kafka.example',
  }),
});

const secret = (what: string, variable: string) => ({
  description: `${what}; only as \${ENV}.`,
  unit: 'secret',
  example: `\${${variable}}`,
});

/** How a Kafka client shows who it is. */
export const saslSchema = z.strictObject({
  mechanism: optionalText({
    description:
      'plain, scram-sha-256, scram-sha-512 or oauthbearer. Plain is taken without TLS only with `allow_plain_text`.',
    unit: 'plain | scram-sha-256 | scram-sha-512 | oauthbearer',
    example: 'scram-sha-512',
    problem: (word) =>
      ['plain', 'scram-sha-256', 'scram-sha-512', 'oauthbearer'].includes(word)
        ? undefined
        : `"${word}" is not one of plain, scram-sha-256, scram-sha-512, oauthbearer`,
  }),
  username: optionalText({
    description: 'User name; with oauthbearer the client id.',
    example: 'tributary',
  }),
  password: optionalText(secret('Password; with oauthbearer the client secret', 'KAFKA_PASSWORD')),
  password_file: optionalText({
    description: 'File whose first line is the password, in place of `password`.',
    unit: 'path',
    example: '/run/secrets/kafka-password',
  }),
  token_url: optionalText({
    description: 'oauthbearer: where tokens are got with the client credentials.',
    unit: 'URL',
    example: 'https://login.example/oauth2/token',
    problem: (url) => (URL.canParse(url) ? undefined : `"${url}" is not a URL`),
  }),
  scope: optionalText({
    description: 'oauthbearer: the scope to ask for.',
    example: 'kafka',
  }),
  allow_plain_text: flag({
    description:
      'Send passwords over connections that are not encrypted: for tests on one machine.',
    default: false,
  }),
});

/** How we show the registry who we are. */
export const registryAuthSchema = z.strictObject({
  username: optionalText({ description: 'User name for basic authentication.', example: 'app' }),
  password: optionalText(secret('Password for basic authentication', 'REGISTRY_PASSWORD')),
  password_file: optionalText({
    description: 'File whose first line is the password, in place of `password`.',
    unit: 'path',
    example: '/run/secrets/registry-password',
  }),
  token: optionalText(secret('Bearer token, in place of user and password', 'REGISTRY_TOKEN')),
  token_file: optionalText({
    description: 'File whose first line is the bearer token. Read again when the file changes.',
    unit: 'path',
    example: '/run/secrets/registry-token',
  }),
});
