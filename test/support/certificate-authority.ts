import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** A certificate with its key, both PEM, and where they are. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface CertificateSpec {
  /** Of the subject, and of the files. */
  readonly name: string;
  /** DNS name in the certificate (default localhost). */
  readonly host?: string;
  /** First and last day (default: since yesterday, for a day more). */
  readonly days?: readonly [from: number, to: number];
}

/** An authority made by openssl, and the certificates that it signs. */
export class CertificateAuthority {
  readonly caFile: string;
  readonly #dir: string;

  constructor(dir: string, name = 'ca') {
    this.#dir = path.join(dir, name);
    mkdirSync(this.#dir, { recursive: true });
    this.caFile = path.join(this.#dir, 'ca.pem');
    const subject = ['-keyout', 'ca.key', '-out', 'ca.pem', '-subj', `/CN=${name}`];
    this.#openssl([...newKey, '-x509', ...subject, '-days', '2']);
  }

  issue({ name, host = 'localhost', days = [-1, 1] }: CertificateSpec): Certificate {
    const file = (suffix: string) => path.join(this.#dir, `${name}.${suffix}`);
    const subject = ['-keyout', file('key'), '-out', file('csr'), '-subj', `/CN=${name}`];
    this.#openssl([...newKey, ...subject]);
    writeFileSync(file('cnf'), signingConfig(host));
    writeFileSync(file('db'), '');
    const [from = '', to = ''] = days.map(certificateTime);
    const signing = ['ca', '-batch', '-notext', '-config', file('cnf')];
    const signer = ['-cert', 'ca.pem', '-keyfile', 'ca.key', '-in', file('csr')];
    this.#openssl(
      [...signing, ...signer, '-out', file('pem'), '-startdate', from, '-enddate', to],
      {
        DATABASE: file('db'),
      },
    );
    return {
      certFile: file('pem'),
      keyFile: file('key'),
      cert: readFileSync(file('pem'), 'utf8'),
      key: readFileSync(file('key'), 'utf8'),
    };
  }

  #openssl(words: readonly string[], env: Readonly<Record<string, string>> = {}): void {
    execFileSync('openssl', words, {
      cwd: this.#dir,
      stdio: 'pipe',
      env: { ...process.env, ...env },
    });
  }
}

const newKey = ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** What `openssl ca` needs: `openssl x509` of version 3.0 takes no dates. */
const signingConfig = (host: string): string => `
[ca]
default_ca = signing
[signing]
database = $ENV::DATABASE
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = anything
x509_extensions = extensions
unique_subject = no
[anything]
commonName = supplied
[extensions]
subjectAltName = DNS:${host}
`;

/** YYYYMMDDHHMMSSZ, so many days from now. */
function certificateTime(days: number): string {
  const time = new Date(Date.now() + days * 86_400_000).toISOString();
  return `${time.replaceAll(/[-:T]/g, '').slice(0, 14)}Z`;
}
