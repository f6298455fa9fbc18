import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PipelineError } from '../../runtime/errors.ts';
import { runProcess } from '../../runtime/run-process.ts';

/** Files of one identity, PEM. */
export interface Identity {
  readonly certFile: string;
  readonly keyFile: string;
  /** Key and certificate in one file, as Kafka wants them. */
  readonly bothFile: string;
}

export interface Authority {
  readonly caFile: string;
  /** A certificate for a server at these names or addresses, or a client of this name. */
  issue(options: IssueOptions): Promise<Identity>;
}

export interface IssueOptions {
  /** Common name, and name of the files. */
  readonly name: string;
  /** Subject alternative names: `DNS:localhost`, `IP:127.0.0.1`. */
  readonly alternatives?: readonly string[];
  /** Already expired. */
  readonly isExpired?: boolean;
}

const days = 2;

/** A certificate authority of our own in a folder, made by openssl. Throws `setup-failed`. */
export async function createAuthority(folder: string, name: string): Promise<Authority> {
  await mkdir(folder, { recursive: true });
  const at = (file: string) => path.join(folder, file);
  const keyFile = at(`${name}.key`);
  const caFile = at(`${name}.pem`);
  const subject = `/CN=${name} -addext basicConstraints=critical,CA:TRUE`;
  const files = ['-keyout', keyFile, '-out', caFile];
  await openssl(`req -x509 -newkey rsa:2048 -nodes -days ${days} -subj ${subject}`, files);
  await writeFile(at(`${name}.index`), '');
  return {
    caFile,
    issue: (options) => issue(options, { folder, keyFile, caFile, name }),
  };
}

interface Issuer {
  readonly folder: string;
  readonly keyFile: string;
  readonly caFile: string;
  readonly name: string;
}

async function issue(options: IssueOptions, issuer: Issuer): Promise<Identity> {
  const { folder, name: issuerName } = issuer;
  const at = (ending: string) => path.join(folder, `${options.name}.${ending}`);
  const identity = { certFile: at('pem'), keyFile: at('key'), bothFile: at('both.pem') };
  const request = ['-keyout', identity.keyFile, '-out', at('csr')];
  await openssl(`req -newkey rsa:2048 -nodes -subj /CN=${options.name}`, request);
  const names = options.alternatives ?? [];
  const extensions = names.length === 0 ? '' : `subjectAltName=${names.join(',')}\n`;
  const settings = `[ca]
default_ca = own
[own]
database = ${path.join(folder, `${issuerName}.index`)}
new_certs_dir = ${folder}
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
x509_extensions = extensions
[any]
commonName = supplied
[extensions]
${extensions}`;
  await writeFile(at('cnf'), settings);
  // `openssl x509` cannot make a certificate that has expired; `openssl ca` can.
  const validity = options.isExpired
    ? '-startdate 20200101000000Z -enddate 20200102000000Z'
    : `-days ${days}`;
  const files = { config: at('cnf'), in: at('csr'), out: identity.certFile, cert: issuer.caFile };
  await openssl(
    `ca -batch -notext ${validity}`,
    Object.entries({ ...files, keyfile: issuer.keyFile }).flatMap(([name, file]) => [
      `-${name}`,
      file,
    ]),
  );
  const both = await Promise.all(
    [identity.keyFile, identity.certFile].map((file) => readFile(file)),
  );
  await writeFile(identity.bothFile, Buffer.concat(both));
  return identity;
}

/** `words` hold no blank of their own; `files` are taken as they are. */
async function openssl(words: string, files: readonly string[]): Promise<void> {
  const args = [...words.split(' '), ...files];
  const result = await runProcess('openssl', args).catch((cause: unknown) => {
    throw new PipelineError('setup-failed', 'openssl could not be started', {
      hint: 'install openssl (Debian, Ubuntu: apt-get install openssl; macOS has it)',
      cause,
    });
  });
  if (result.exitCode !== 0) {
    throw new PipelineError('setup-failed', `openssl ${args[0]} failed: ${result.output}`);
  }
}
