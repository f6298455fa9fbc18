import { createHash } from 'node:crypto';
import type { Json, Row } from './book.ts';
import type { Random } from './random.ts';

/** PostgreSQL text of a moment; microseconds beyond the millisecond come from the caller's random source. */
function timestampText(ms: number, micros = 0): string {
  return `${new Date(ms).toISOString().slice(0, -1)}${String(micros).padStart(3, '0')}Z`;
}

export interface Master {
  readonly id: number;
  readonly uuid: string;
}

const words = [
  'river',
  'delta',
  'spring',
  'lake',
  'brook',
  'tide',
  'ford',
  'weir',
  'estuary',
  'confluence',
];
const actions = ['content', 'commerce', 'messaging', 'user', 'referral', 'notification'] as const;

/** Makes the rows of the business: correct shapes, with the drift that business.sql allows. */
export class Factory {
  readonly random: Random;
  #sequences = new Map<string, number>();
  #lastHash = '';

  constructor(random: Random) {
    this.random = random;
  }

  nextId(table: string): number {
    const id = (this.#sequences.get(table) ?? 0) + 1;
    this.#sequences.set(table, id);
    return id;
  }

  moment(ms: number): string {
    return timestampText(ms, this.random.integer(0, 999));
  }

  /** Text that does not compress, so that PostgreSQL stores it out of line. */
  longText(bytesMin: number, bytesMax: number): string {
    const bytes = this.random.integer(bytesMin, bytesMax);
    const noise = Buffer.from(this.random.hex(2 * Math.ceil((bytes * 3) / 4)), 'hex');
    return `${this.phrase(6)}\n${noise.toString('base64')}`;
  }

  phrase(length: number): string {
    return Array.from({ length }, () => this.random.pick(words)).join(' ');
  }

  master(type: string, name: string, ms: number): Row & Master {
    return {
      id: this.nextId('master'),
      uuid: this.random.uuid(),
      type,
      name,
      description: this.random.chance(0.3) ? this.phrase(5) : null,
      version: 1,
      created_at: this.moment(ms),
      updated_at: null,
    };
  }

  user(master: Master, username: string, ms: number): Row {
    const { random } = this;
    return {
      id: random.uuid(),
      master_id: master.id,
      master_uuid: master.uuid,
      username,
      email: `${username}@example.org`,
      password_hash: `scrypt$${random.hex(32)}`,
      locale: random.pick(['en', 'de', 'pt-BR', 'sw']),
      status: random.integer(0, 3),
      tags: random.chance(0.5) ? [] : [random.pick(words), random.pick(words)],
      score: `${random.integer(0, 9_999)}.${random.hex(8).replaceAll(/[a-f]/g, '7')}`,
      is_staff: random.chance(0.05),
      last_login_at: random.chance(0.7) ? this.moment(ms + 3_600_000) : null,
      last_ip: random.pick(['192.0.2.7', '198.51.100.0/24', '2001:db8::1', null]),
      metadata: { theme: random.pick(['dark', 'light']), visits: random.integer(0, 400) },
      created_at: this.moment(ms),
      updated_at: null,
    };
  }

  campaign(master: Master, slug: string, ms: number): Row {
    const { random } = this;
    return {
      id: this.nextId('campaign'),
      master_id: master.id,
      master_uuid: master.uuid,
      slug,
      status: random.pick(['planned', 'running', 'closed']),
      rules: { text: this.longText(8_000, 30_000), version: 1 },
      values: random.chance(0.3) ? null : ['10.00', null, `${random.integer(1, 99)}.25`],
      budget: `${random.integer(100, 90_000)}.00000001`,
      starts_at: this.moment(ms),
      ends_on: '2031-12-31',
      daily_from: '08:30:00',
      is_live: random.chance(0.5),
      created_at: this.moment(ms),
    };
  }

  content(master: Master, author: Row, ms: number): Row {
    const { random } = this;
    return {
      id: random.uuid(),
      master_id: master.id,
      master_uuid: master.uuid,
      author_id: author['id'] ?? null,
      campaign_id: random.chance(0.4) ? random.integer(1, 12) : null,
      title: this.phrase(4),
      body: this.longText(8_000, 48_000),
      state: random.pick(['draft', 'review', 'published']),
      tags: random.chance(0.3) ? null : [random.pick(words)],
      reading_minutes: random.integer(1, 90) / 4,
      metadata: random.chance(0.2) ? null : { words: random.integer(200, 9_000) },
      created_at: this.moment(ms),
      updated_at: null,
    };
  }

  comment(content: Row, author: Row, ms: number): Row {
    return {
      id: this.nextId('comment'),
      content_id: content['id'] ?? null,
      author_id: author['id'] ?? null,
      body: this.phrase(9),
      created_at: this.moment(ms),
    };
  }

  order(master: Master | null, user: Row, ms: number): Row {
    const { random } = this;
    return {
      id: random.uuid(),
      master_id: master?.id ?? null,
      // The trap of a random default: now and then it names no master at all.
      master_uuid: master === null || random.chance(0.1) ? random.uuid() : master.uuid,
      user_id: user['id'] ?? null,
      campaign_id: random.chance(0.6) ? 0 : random.integer(1, 12),
      currency: random.pick(['EUR', 'USD', 'KES']),
      total: `${random.integer(5, 900)}.${random.integer(10, 99)}000000`,
      status: 'placed',
      note: random.chance(0.2) ? this.phrase(3) : null,
      created_at: this.moment(ms),
      updated_at: null,
    };
  }

  orderItems(order: Row): Row[] {
    return Array.from({ length: this.random.integer(1, 4) }, (_, index) => ({
      order_id: order['id'] ?? null,
      line: index + 1,
      sku: `SKU-${this.random.integer(100, 999)}`,
      quantity: this.random.integer(1, 5),
      unit_price: `${this.random.integer(1, 200)}.50000000`,
    }));
  }

  payment(order: Row, state: 'captured' | 'failed', ms: number): Row {
    return {
      id: this.random.uuid(),
      master_id: order['master_id'] ?? null,
      order_id: order['id'] ?? null,
      amount: Number(order['total']),
      provider: this.random.pick(['card', 'mobile', 'bank']),
      state,
      failure: state === 'failed' ? this.random.pick(['declined', 'timeout']) : null,
      attempted_at: this.moment(ms).slice(0, -1),
    };
  }

  message(sender: Row, ms: number): Row {
    return {
      id: this.nextId('message'),
      master_id: sender['master_id'] ?? null,
      sender_id: sender['id'] ?? null,
      campaign_id: this.random.pick([null, '0', '3', 'spring-sale']),
      body: this.phrase(12),
      sent_at: this.moment(ms),
    };
  }

  notification(user: Row, ms: number): Row {
    const known = this.random.chance(0.8);
    return {
      id: this.random.uuid(),
      master_id: known ? (user['master_id'] ?? null) : null,
      master_uuid: known ? (user['master_uuid'] ?? null) : null,
      user_id: user['id'] ?? null,
      channel: this.random.pick(['mail', 'push', 'sms']),
      payload: { subject: this.phrase(3) },
      read_at: this.random.chance(0.5) ? this.moment(ms + 60_000) : null,
      created_at: this.moment(ms),
    };
  }

  referral(user: Row, referred: Row | null, ms: number): Row {
    return {
      code: `${textOf(user, 'username')}-${this.random.hex(5)}`,
      master_id: user['master_id'] ?? null,
      referred_master_id: referred?.['master_id'] ?? null,
      campaign_id: this.random.chance(0.5) ? this.random.integer(1, 12) : null,
      ip: this.random.pick(['203.0.113.9', null]),
      created_at: this.moment(ms),
    };
  }

  /** One event of a request; `dialect` decides how type and correlation id are spelled. */
  event(subject: Row, step: EventStep): Row {
    const { random } = this;
    const states: Json[] = ['requested', 'started', step.state];
    const [service, action] = [step.service, step.action];
    const type = {
      canonical: `${service}:${action}:v1:${step.state}`,
      dotted: `${service}.${action}.${step.state}`,
      snake: `${service}_${action}_${step.state}`,
    }[step.dialect];
    const metadata: Json =
      step.dialect === 'dotted'
        ? { global_context: { correlation_id: step.correlation } }
        : { globalContext: { correlationId: step.correlation } };
    return {
      id: random.uuid(),
      master_id: subject['master_id'] ?? null,
      // Both ids disagree once in a while: accepted by the source, to be found by the models.
      master_uuid: random.chance(0.01) ? random.uuid() : (subject['master_uuid'] ?? null),
      user_id: step.user?.['id'] ?? null,
      campaign_id: random.chance(0.3) ? random.integer(1, 12) : null,
      entity_type: service,
      entity_id: step.entityId,
      event_type: type,
      payload: { step: states.indexOf(step.state), note: this.phrase(3) },
      metadata,
      status: step.state === 'failed' ? 'error' : 'ok',
      step: states.indexOf(step.state),
      nexus_sequence: random.integer(1, 5_000),
      occurred_at: this.moment(step.ms),
      created_at: this.moment(step.ms + 5),
    };
  }

  /** requested → started → success or failed, under one correlation id, some milliseconds apart. */
  eventChain(subject: Row, user: Row | null, ms: number): Row[] {
    const { random } = this;
    const base = {
      service: random.pick(actions),
      action: random.pick(['create', 'update', 'publish', 'send']),
      dialect: random.pick(['canonical', 'canonical', 'dotted', 'snake'] as const),
      correlation: random.uuid(),
      user,
      entityId: typeof subject['id'] === 'string' ? subject['id'] : null,
    };
    const end = random.chance(0.12) ? 'failed' : 'success';
    return (['requested', 'started', end] as const).map((state, index) =>
      this.event(subject, { ...base, state, ms: ms + index * random.integer(20, 400) }),
    );
  }

  /** Linked to the entry before it by its hash. */
  securityEvent(user: Row, ms: number): Row {
    const occurredAt = this.moment(ms);
    const body = {
      event_type: this.random.pick(['login', 'logout', 'password_change', 'token_revoked']),
      principal: textOf(user, 'username'),
      resource: this.random.pick(['/session', '/account', null]),
      occurred_at: occurredAt,
    };
    const previous = this.#lastHash;
    this.#lastHash = createHash('sha256')
      .update(JSON.stringify(body))
      .update(previous)
      .digest('hex');
    return {
      id: this.random.uuid(),
      master_id: user['master_id'] ?? null,
      master_uuid: user['master_uuid'] ?? null,
      ...body,
      details: { agent: this.random.pick(['cli', 'browser']) },
      prev_hash: previous,
      entry_hash: this.#lastHash,
    };
  }

  analyticsEvent(user: Row, content: Row, ms: number): Row {
    return {
      id: this.random.uuid(),
      master_id: this.random.chance(0.5) ? (user['master_id'] ?? null) : null,
      master_uuid: null,
      user_id: user['id'] ?? null,
      event_type: this.random.pick(['page_view', 'click', 'scroll_depth']),
      entity_id: content['id'] ?? null,
      properties: { depth: this.random.integer(1, 100) },
      occurred_at: this.moment(ms),
    };
  }

  jobRun(ms: number, finished: boolean): Row {
    const started = Math.floor(ms / 1000);
    return {
      id: this.random.uuid(),
      master_id: null,
      campaign_id: this.random.chance(0.7) ? 0 : this.random.integer(1, 12),
      job_name: this.random.pick(['rollup', 'mail-digest', 'cleanup']),
      status: finished ? 'done' : 'running',
      started_at: started,
      finished_at: finished ? started + this.random.integer(1, 90) : null,
      error: null,
    };
  }

  broadcast(user: Row, ms: number): Row {
    return {
      id: this.nextId('broadcast'),
      user_id: user['id'] ?? null,
      campaign_id: String(this.random.integer(0, 12)),
      event_type: this.random.pick(['campaign.broadcast.sent', 'campaign_opened']),
      timestamp: this.moment(ms),
      json_payload: this.random.chance(0.9)
        ? JSON.stringify({ n: this.random.integer(1, 9) })
        : 'not json',
      binary_payload: this.random.chance(0.3) ? `\\x${this.random.hex(16)}` : null,
    };
  }

  trace(user: Row, ms: number): Row {
    return {
      master_id: user['master_id'] ?? null,
      action: this.random.pick(['open', 'close', 'tap']),
      values: this.random.chance(0.2) ? null : [`${this.random.integer(0, 9)}.12500000`, null],
      occurred_at: timestampText(ms, this.nextId('trace') % 1000),
    };
  }

  session(user: Row, ms: number): Row {
    return {
      token: this.random.hex(24),
      master_id: user['master_id'] ?? null,
      data: `\\x${this.random.hex(120)}`,
      expires_at: this.moment(ms + 3_600_000),
    };
  }
}

function textOf(row: Row, column: string): string {
  const value = row[column];
  return typeof value === 'string' ? value : '';
}

interface EventStep {
  readonly service: string;
  readonly action: string;
  readonly state: 'requested' | 'started' | 'success' | 'failed';
  readonly dialect: 'canonical' | 'dotted' | 'snake';
  readonly correlation: string;
  readonly user: Row | null;
  readonly entityId: string | null;
  readonly ms: number;
}
