import type { ConfluentRegistryConfig } from '../../runtime/config.ts';
import { PipelineError } from '../../runtime/errors.ts';
import type { SchemaRegistry, WhenIncompatible } from '../../schemas/registry.ts';
import { schemaName } from '../../schemas/schema-name.ts';
import { Compatibility } from './compatibility.ts';
import { translateRefusal } from './errors.ts';
import { RegistryClient } from './registry-client.ts';

export interface ConfluentRegistryOptions {
  readonly config: ConfluentRegistryConfig;
  /** Told what a person should look at, in one sentence; must not throw. */
  readonly onAlert?: (message: string) => void;
}

const subjectMissing = 40401;
const schemaMissing = 40403;
const versionMissing = 40402;

/**
 * Opens a schema registry with Confluent's interface. Nothing is asked yet: a registry that is down
 * shows when a schema is wanted. What was registered or read once is never asked for again.
 */
export async function openConfluentRegistry(
  options: ConfluentRegistryOptions,
): Promise<SchemaRegistry> {
  return new ConfluentRegistry(options);
}

class ConfluentRegistry implements SchemaRegistry {
  readonly #options: ConfluentRegistryOptions;
  readonly #client: RegistryClient;
  readonly #compatibility: Compatibility;
  /** Ids never change their text, so what was read once holds. */
  readonly #texts = new Map<number, string>();
  readonly #ids = new Map<string, number>();
  /** Subjects that have the level of the configuration. */
  readonly #configured = new Set<string>();
  /** Subjects whose rule is lifted: the level that they had, and whether it was their own. */
  readonly #lifted = new Map<string, { readonly level: string; readonly isOwn: boolean }>();

  constructor(options: ConfluentRegistryOptions) {
    this.#options = options;
    this.#client = new RegistryClient(options.config);
    this.#compatibility = new Compatibility(this.#client);
  }

  async register(
    subject: string,
    schemaText: string,
    incompatible: WhenIncompatible = this.#options.config.incompatible,
  ): Promise<number> {
    const key = `${subject}\n${schemaText}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    await this.#restore();
    await this.#configure(subject);
    const id = await this.#find(subject, schemaText, incompatible);
    this.#ids.set(key, id);
    this.#texts.set(id, schemaText);
    return id;
  }

  async schemaText(id: number): Promise<string> {
    const known = this.#texts.get(id);
    if (known !== undefined) return known;
    const answer = await this.#client.ask({
      method: 'GET',
      path: `/schemas/ids/${id}`,
      what: `a question for schema ${id}`,
      expected: [schemaMissing],
    });
    const text = answer.ok ? answer.body['schema'] : undefined;
    if (typeof text !== 'string') {
      const message = `schema ${id} is not in the registry at ${this.#client.url}`;
      throw new PipelineError('schema-unknown', message, { context: { id } });
    }
    this.#texts.set(id, text);
    return text;
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  async #configure(subject: string): Promise<void> {
    const { compatibility } = this.#options.config;
    if (compatibility === 'keep' || this.#configured.has(subject)) return;
    const wanted = compatibility.toUpperCase();
    if ((await this.#compatibility.ownLevelOf(subject)) !== wanted) {
      await this.#compatibility.setLevel(subject, wanted);
    }
    this.#configured.add(subject);
  }

  /** The id of a schema that the subject has already, or gets now. */
  async #find(subject: string, schema: string, incompatible: WhenIncompatible): Promise<number> {
    const answer = await this.#client.ask({
      method: 'POST',
      path: `/subjects/${encodeURIComponent(subject)}`,
      body: { schema },
      what: `looking up a schema of ${subject}`,
      expected: [subjectMissing, schemaMissing],
    });
    if (answer.ok) return this.#idOf(answer.body, subject);
    const isNew = answer.refusal.code === subjectMissing;
    const problem = isNew ? null : await this.#problemOf(subject, schema);
    try {
      if (problem !== null) throw incompatibility(subject, problem);
      return await this.#add(subject, schema);
    } catch (error) {
      // A registry may also refuse what it found compatible when asked, or what another program changed meanwhile.
      const isRefused = error instanceof PipelineError && error.kind === 'schema-incompatible';
      if (!isRefused || incompatible === 'park') throw error;
      return await this.#force(subject, schema, error);
    }
  }

  async #add(subject: string, schema: string): Promise<number> {
    const answer = await this.#client.ask({
      method: 'POST',
      path: `/subjects/${encodeURIComponent(subject)}/versions`,
      body: { schema },
      what: `registering a schema under ${subject}`,
    });
    return answer.ok ? this.#idOf(answer.body, subject) : this.#noId(subject);
  }

  /** Registers against the subject's rule, which is lifted for as long as that takes. */
  async #force(subject: string, schema: string, refusal: PipelineError): Promise<number> {
    const level = await this.#compatibility.levelOf(subject);
    const own = await this.#compatibility.ownLevelOf(subject);
    if (level !== 'NONE') {
      // Some registries answer NONE for a subject without a rule of its own.
      this.#lifted.set(subject, { level, isOwn: own === level });
      await this.#compatibility.setLevel(subject, 'NONE');
    }
    try {
      const id = await this.#add(subject, schema);
      this.#options.onAlert?.(`${refusal.message}; registered all the same, as schema ${id}`);
      return id;
    } finally {
      await this.#restore();
    }
  }

  /** Gives subjects back the rules that were lifted; what an outage prevented is done at the next chance. */
  async #restore(): Promise<void> {
    for (const [subject, { level, isOwn }] of this.#lifted) {
      if (!isOwn) await this.#compatibility.clearLevel(subject);
      // Apicurio keeps NONE for a subject whose level is cleared, where Confluent's goes back to that of all.
      if (isOwn || (await this.#compatibility.levelOf(subject)) !== level) {
        await this.#compatibility.setLevel(subject, level);
      }
      this.#lifted.delete(subject);
    }
  }

  /** What speaks against one more schema under a subject that has some. */
  async #problemOf(subject: string, schema: string): Promise<string | null> {
    const foreign = await this.#foreignName(subject, schema);
    if (foreign !== null) return `the subject holds ${foreign}, which another program registered`;
    const level = await this.#compatibility.levelOf(subject);
    if (level === 'NONE') return null;
    return await this.#compatibility.problemOf(subject, level, schema);
  }

  /** What the newest schema of the subject is called, unless that is our schema's name. */
  async #foreignName(subject: string, schema: string): Promise<string | null> {
    const answer = await this.#client.ask({
      method: 'GET',
      path: `/subjects/${encodeURIComponent(subject)}/versions/latest`,
      what: `a question for the newest schema of ${subject}`,
      expected: [subjectMissing, versionMissing],
    });
    if (!answer.ok) return null;
    const { schema: text, schemaType = 'AVRO' } = answer.body;
    if (schemaType !== 'AVRO') return `a schema of type ${String(schemaType)}`;
    const name = schemaName(String(text));
    return name === schemaName(schema) ? null : `schema ${name ?? 'that is no Avro'}`;
  }

  #idOf(body: Readonly<Record<string, unknown>>, subject: string): number {
    const { id } = body;
    return typeof id === 'number' && Number.isInteger(id) ? id : this.#noId(subject);
  }

  #noId(subject: string): never {
    const refusal = { status: 200, code: 0, message: '' };
    throw translateRefusal(this.#client.url, `a schema of ${subject}, without an id`, refusal);
  }
}

function incompatibility(subject: string, problem: string): PipelineError {
  const message = `the new schema of ${subject} is not compatible: ${problem}`;
  return new PipelineError('schema-incompatible', message, { context: { subject } });
}
