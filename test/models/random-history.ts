import { History, type Row } from './lake-history.ts';

/** The numbers of a seed: the same seed gives the same history. */
function randomFrom(seed: number) {
  let state = seed >>> 0;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    next,
    below,
    pick: <T>(values: readonly T[]): T => values[below(values.length)]!,
    chance: (share: number) => next() < share,
  };
}

const hourMs = 3_600_000;
const types = [
  'order:create:v1:requested',
  'order:create:v1:success',
  'order:pay:v2:failed',
  'content.view',
  'content.publish.completed',
  'user_login',
  'user_signup_error',
  'plain',
];
export const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const text = (at: number) => new Date(at).toISOString().replace('T', ' ').replace('Z', '+00');

/**
 * Twelve days of a small business: a snapshot, then commits with events that arrive late, change, move and
 * are deleted, users that change hands, and masters that are deleted with all that is theirs.
 */
export function randomHistory(seed: number): { history: History; startAt: number } {
  const random = randomFrom(seed);
  const startAt = Date.UTC(2026, 2, 1);
  const history = new History();
  const masters: Row[] = [];
  const users: Row[] = [];
  const contents: Row[] = [];
  const events = new Map<string, Row>();
  const master = (n: number, at: number): Row => ({
    id: String(n),
    uuid: uuid(n),
    type: n % 2 === 0 ? 'user' : 'content',
    name: `m${n}`,
    created_at: text(at),
  });
  const snapshot: [string, Row][] = [];
  for (let n = 1; n <= 8; n += 1) {
    const row = master(n, startAt - n * 20 * hourMs);
    masters.push(row);
    snapshot.push(['master', row]);
    if (n % 2 === 0) {
      const user = {
        id: uuid(100 + n),
        master_id: row['id']!,
        master_uuid: row['uuid']!,
        email: 'e',
        password_hash: 'p',
        created_at: row['created_at']!,
      };
      users.push(user);
      snapshot.push(['users', user]);
    } else {
      const content = {
        id: uuid(200 + n),
        master_id: row['id']!,
        author_id: uuid(102),
        title: 't',
        body: 'long',
        tags: null,
      };
      contents.push(content);
      snapshot.push(['contents', content]);
    }
  }
  snapshot.push(['campaigns', { id: '7', master_id: '1', slug: 's' }]);
  let eventNumber = 1000;
  const newEvent = (occurredAt: number): Row => {
    const owner = random.chance(0.9) ? random.pick(masters) : null;
    eventNumber += 1;
    return {
      id: uuid(eventNumber),
      master_id: owner === null || random.chance(0.2) ? null : owner['id']!,
      master_uuid: random.chance(0.5) ? (owner?.['uuid'] ?? uuid(9999)) : null,
      user_id: random.chance(0.7) ? random.pick(users)['id']! : random.chance(0.5) ? 'robot' : null,
      campaign_id: random.pick(['0', '7', '', null]),
      entity_type: null,
      entity_id: null,
      event_type: random.pick(types),
      status: random.pick([null, 'completed', 'failed', 'odd']),
      payload: '{"a": 1}',
      metadata: '{}',
      amount: random.chance(0.4) ? `${random.below(1000)}.25000000` : null,
      occurred_at: text(occurredAt),
    };
  };
  for (let n = 0; n < 25; n += 1) {
    const row = newEvent(startAt - random.below(20 * 24) * hourMs);
    events.set(row['id']!, row);
    snapshot.push(['events', row]);
  }
  history.snapshot(new Date(startAt), snapshot);
  let now = startAt;
  for (let step = 0; step < 260; step += 1) {
    now += random.below(2 * hourMs) + 1000;
    // Now and then a commit at midnight sharp, and an event at midnight sharp.
    if (random.chance(0.05)) now = Math.ceil(now / (24 * hourMs)) * 24 * hourMs;
    history.commit(new Date(now), (transaction) => {
      const dice = random.next();
      const known = [...events.values()];
      if (dice < 0.6 || known.length < 5) {
        const late = random.chance(0.2) ? random.below(72) * hourMs : random.below(60_000);
        const at = random.chance(0.05) ? Math.floor(now / (24 * hourMs)) * 24 * hourMs : now - late;
        const row = newEvent(at);
        events.set(row['id']!, row);
        transaction.insert('events', row);
        if (random.chance(0.3))
          transaction.insert('job_runs', {
            id: String(step),
            master_id: row['master_id']!,
            status: random.pick(['completed', 'failed']),
            started_at: String(Math.floor(at / 1000)),
          });
        if (random.chance(0.3))
          transaction.insert('traces', {
            master_id: row['master_id']!,
            action: 'trace_seen',
            values: '[1.5]',
            timestamp: row['occurred_at']!,
          });
      } else if (dice < 0.72) {
        const row: Row = { ...random.pick(known), status: 'failed', amount: '1.00000000' };
        events.set(row['id']!, row);
        transaction.update('events', row, ['payload', 'metadata']);
      } else if (dice < 0.8) {
        const row = random.pick(known);
        events.delete(row['id']!);
        transaction.remove('events', { id: row['id']! });
      } else if (dice < 0.85) {
        const row = random.pick(known);
        eventNumber += 1;
        const moved = { ...row, id: uuid(eventNumber) };
        events.delete(row['id']!);
        events.set(moved.id, moved);
        transaction.move('events', { id: row['id']! }, { row: moved, leftOut: ['payload'] });
      } else if (dice < 0.9) {
        const at = random.below(users.length);
        const heir = random.pick(masters);
        users[at] = { ...users[at]!, master_id: heir['id']!, master_uuid: heir['uuid']! };
        transaction.update('users', users[at]);
      } else if (dice < 0.94) {
        transaction.insert('comments', {
          id: String(step),
          content_id: random.pick(contents)['id']!,
          body: 'b',
        });
      } else if (dice < 0.97) {
        const row = master(20 + step, now);
        masters.push(row);
        transaction.insert('master', row);
      } else if (masters.length > 4) {
        const [gone] = masters.splice(random.below(masters.length), 1);
        transaction.remove('master', { id: gone!['id']! });
        for (const row of known.filter((event) => event['master_id'] === gone!['id'])) {
          events.delete(row['id']!);
          transaction.remove('events', { id: row['id']! });
        }
      } else {
        transaction.truncate('links');
      }
    });
  }
  return { history, startAt };
}
