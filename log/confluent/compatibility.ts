import { shortReason } from './errors.ts';
import type { RegistryClient } from './registry-client.ts';

const subjectMissing = 40401;
const versionMissing = 40402;
const levelMissing = 40408;

/** The rules of subjects: what new schemas must be towards the old ones. Levels in upper case, as the API has them. */
export class Compatibility {
  readonly #client: RegistryClient;

  constructor(client: RegistryClient) {
    this.#client = client;
  }

  /** The level that holds for a subject: its own, or else the registry's. */
  async levelOf(subject: string): Promise<string> {
    const own = await this.#ask(`/config/${encodeURIComponent(subject)}?defaultToGlobal=true`);
    return own ?? (await this.#ask('/config')) ?? 'NONE';
  }

  /** The level that was set for this very subject; null when it has none. */
  async ownLevelOf(subject: string): Promise<string | null> {
    return await this.#ask(`/config/${encodeURIComponent(subject)}`);
  }

  async setLevel(subject: string, compatibility: string): Promise<void> {
    await this.#client.ask({
      method: 'PUT',
      path: `/config/${encodeURIComponent(subject)}`,
      body: { compatibility },
      what: `setting the compatibility of ${subject} to ${compatibility}`,
    });
  }

  /** The registry's level holds again. */
  async clearLevel(subject: string): Promise<void> {
    await this.#client.ask({
      method: 'DELETE',
      path: `/config/${encodeURIComponent(subject)}`,
      what: `clearing the compatibility of ${subject}`,
      expected: [subjectMissing, levelMissing],
    });
  }

  /** Why a schema may not follow those of its subject under this level; null when it may. */
  async problemOf(subject: string, level: string, schema: string): Promise<string | null> {
    const versions = level.endsWith('_TRANSITIVE') ? 'versions' : 'versions/latest';
    const answer = await this.#client.ask({
      method: 'POST',
      path: `/compatibility/subjects/${encodeURIComponent(subject)}/${versions}?verbose=true`,
      body: { schema },
      what: `checking the compatibility of a schema with ${subject}`,
      expected: [subjectMissing, versionMissing],
    });
    if (!answer.ok || answer.body['is_compatible'] !== false) return null;
    const { messages } = answer.body;
    const reasons = Array.isArray(messages) ? messages.map(String) : [];
    return `rule ${level}${shortReason(reasons.join(' '))}`;
  }

  async #ask(path: string): Promise<string | null> {
    const answer = await this.#client.ask({
      method: 'GET',
      path,
      what: 'a question for its compatibility level',
      expected: [subjectMissing, levelMissing],
    });
    if (!answer.ok) return null;
    const level = answer.body['compatibilityLevel'] ?? answer.body['compatibility'];
    return typeof level === 'string' ? level.toUpperCase() : null;
  }
}
