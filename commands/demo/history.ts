import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import { Book, type Row } from './book.ts';
import { Factory } from './factory.ts';
import { createRandom } from './random.ts';

const dayMs = 86_400_000;
const historyDays = 30;
const rowsPerInsert = 500;
export const campaigns = 12;

export interface Business {
  readonly book: Book;
  readonly factory: Factory;
}

export interface HistoryOptions {
  readonly seed: number;
  /** The end of the history; rows are spread over the 30 days before it. */
  readonly nowMs: number;
  /** Multiplies every row count; 1 makes about 27,000 rows. */
  readonly scale?: number;
}

/** Creates business.sql's tables in an empty database and fills them with a month of history. */
export async function createBusiness(
  client: pg.ClientBase,
  options: HistoryOptions,
): Promise<Business> {
  await client.query(await readFile(new URL('business.sql', import.meta.url), 'utf8'));
  const business = { book: new Book(), factory: new Factory(createRandom(options.seed)) };
  const rows = writeHistory(business.factory, options);
  for (const [table, all] of Object.entries(rows)) {
    for (let from = 0; from < all.length; from += rowsPerInsert) {
      await business.book
        .begin()
        .insert(table, ...all.slice(from, from + rowsPerInsert))
        .commit(client);
    }
  }
  await client.query('analyze');
  return business;
}

interface Scope {
  readonly factory: Factory;
  readonly nowMs: number;
  /** `count`, scaled, of what `make` gives. */
  readonly many: <T>(count: number, make: (index: number) => T) => T[];
  /** A moment of the month before the last day. */
  readonly sometime: () => number;
}

/** All rows by table, parents before children. */
function writeHistory(
  factory: Factory,
  { nowMs, scale = 1 }: HistoryOptions,
): Record<string, Row[]> {
  const scope: Scope = {
    factory,
    nowMs,
    many: (count, make) =>
      Array.from({ length: Math.max(1, Math.round(count * scale)) }, (_, index) => make(index)),
    sometime: () => nowMs - dayMs - Math.floor(factory.random.next() * (historyDays - 1) * dayMs),
  };
  const things = writeThings(scope);
  return { ...things, ...writeActivity(scope, things) };
}

type Things = ReturnType<typeof writeThings>;

/** Masters and what hangs on them one to one: users, campaigns, contents, orders. */
function writeThings({ factory, nowMs, many, sometime }: Scope) {
  const { random } = factory;
  const master: Row[] = [];
  const register = (type: string, name: string, ms: number) => {
    const row = factory.master(type, name, ms);
    master.push(row);
    return row;
  };
  const begin = nowMs - historyDays * dayMs;
  const users = many(400, (index) => {
    const [username, ms] = [`user${index + 1}`, begin + index];
    return factory.user(register('user', username, ms), username, ms);
  });
  const campaign = (_: unknown, index: number) => {
    const slug = `campaign-${index + 1}`;
    return factory.campaign(register('campaign', slug, begin), slug, sometime());
  };
  const contents = many(300, (index) => {
    const ms = sometime();
    return factory.content(register('content', `content-${index + 1}`, ms), random.pick(users), ms);
  });
  const orders = many(1_500, (index) => {
    const ms = sometime();
    const own = random.chance(0.9) ? register('order', `order-${index + 1}`, ms) : null;
    return factory.order(own, random.pick(users), ms);
  });
  return {
    master,
    service_user_master: users,
    service_campaign_main: Array.from({ length: campaigns }, campaign),
    service_content_main: contents,
    service_commerce_order: orders,
  };
}

/** What people and machines did with them. */
function writeActivity(scope: Scope, things: Things): Record<string, Row[]> {
  const { factory, nowMs, many, sometime } = scope;
  const { random } = factory;
  const user = () => random.pick(things.service_user_master);
  const content = () => random.pick(things.service_content_main);
  const orders = things.service_commerce_order;
  const paid = () => (random.chance(0.9) ? 'captured' : 'failed');
  return {
    service_content_comment: many(1_500, () => factory.comment(content(), user(), sometime())),
    service_commerce_order_item: orders.flatMap((order) => factory.orderItems(order)),
    service_commerce_payment: orders.map((order) => factory.payment(order, paid(), sometime())),
    service_wallet_account: things.service_user_master.map((owner, index) => ({
      id: index + 1,
      master_id: owner['master_id'] ?? null,
      balance: '1000.00000000',
    })),
    service_messaging_message: many(1_500, () => factory.message(user(), sometime())),
    service_notification_main: many(1_500, () => factory.notification(user(), sometime())),
    service_referral_link: many(200, (index) =>
      factory.referral(user(), index % 2 === 0 ? user() : null, sometime()),
    ),
    service_session_cache: many(200, () => factory.session(user(), nowMs)),
    service_event: many(2_800, () => eventChain(scope, user(), content())).flat(),
    service_security_event: many(600, (index) =>
      factory.securityEvent(user(), nowMs - 2 * dayMs + index * 60_000),
    ),
    service_analytics_event: many(1_500, () =>
      factory.analyticsEvent(user(), content(), sometime()),
    ),
    service_scheduler_job_run: many(400, () => factory.jobRun(sometime(), true)),
    service_campaign_broadcast_event: many(600, () => factory.broadcast(user(), sometime())),
    service_activity_trace: many(500, (index) => factory.trace(user(), nowMs - dayMs + index)),
  };
}

function eventChain({ factory, sometime }: Scope, user: Row, content: Row): Row[] {
  return factory.eventChain(factory.random.chance(0.6) ? user : content, user, sometime());
}
