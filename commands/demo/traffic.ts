import type pg from 'pg';
import { setTimeout as pause } from 'node:timers/promises';
import type { Row } from './book.ts';
import { type Business, campaigns } from './history.ts';

export interface TrafficOptions {
  readonly client: pg.ClientBase;
  readonly business: Business;
  /** How long to write, as far as the database keeps up; ends earlier when the signal aborts. */
  readonly seconds: number;
  /** Transactions to begin each second, as far as the database keeps up. */
  readonly transactionsPerSecond: number;
  readonly signal?: AbortSignal;
  readonly onTransaction?: (transactions: number, changes: number) => void;
}

interface Scene extends Business {
  readonly client: pg.ClientBase;
  nowMs: number;
  /** Set by the migration in the middle; from then on orders carry the new columns. */
  migrated: boolean;
}

type Action = (scene: Scene) => Promise<void>;

/**
 * Writes like the services of the business would: chains of events, orders with payments and
 * failures, edits that leave large columns unchanged, key changes, deletes, a cascade, a rollback, a
 * truncate, and one migration half-way. The same seed makes the same choices in the same order.
 */
export async function runTraffic(options: TrafficOptions): Promise<void> {
  const { client, business, seconds, transactionsPerSecond, signal } = options;
  const scene: Scene = { ...business, client, nowMs: Date.now(), migrated: false };
  const planned = Math.max(rareActions.length + 1, Math.floor(seconds * transactionsPerSecond));
  const startedAt = performance.now();
  for (let number = 0; number < planned && signal?.aborted !== true; number += 1) {
    scene.nowMs = Date.now();
    await plannedAction(number, planned)(scene);
    options.onTransaction?.(business.book.transactions.length, business.book.changeCount);
    const aheadMs = (number * 1000) / transactionsPerSecond - (performance.now() - startedAt);
    if (aheadMs > 1)
      await pause(aheadMs, undefined, signal ? { signal } : {}).catch(() => undefined);
  }

  function plannedAction(number: number, total: number): Action {
    // The rare actions come once each, spread over the run, so that even a short one shows them all.
    const due = Math.floor((number * (rareActions.length + 1)) / total);
    const isFirst = due !== Math.floor(((number - 1) * (rareActions.length + 1)) / total);
    const rare = isFirst ? rareActions[due - 1] : undefined;
    return rare ?? business.factory.random.pick(actions);
  }
}

const user = ({ book, factory }: Scene): Row =>
  factory.random.pick(book.rows('service_user_master'));
const content = ({ book, factory }: Scene): Row =>
  factory.random.pick(book.rows('service_content_main'));

const requestChain: Action = async (scene) => {
  const [actor, chance] = [user(scene), scene.factory.random.chance(0.6)];
  const subject = chance ? actor : content(scene);
  for (const event of scene.factory.eventChain(subject, actor, scene.nowMs)) {
    await scene.book.begin().insert('service_event', event).commit(scene.client);
  }
};

const placeOrder: Action = async (scene) => {
  const { book, factory, client, nowMs } = scene;
  const buyer = user(scene);
  const master = factory.master('order', `order-${factory.random.hex(10)}`, nowMs);
  const channel: Row = scene.migrated ? { channel: 'app' } : {};
  const order: Row = { ...factory.order(master, buyer, nowMs), ...channel };
  const [requested] = factory.eventChain(order, buyer, nowMs);
  const work = book.begin().insert('master', master).insert('service_commerce_order', order);
  work.insert('service_commerce_order_item', ...factory.orderItems(order));
  if (requested !== undefined) work.insert('service_event', requested);
  await work.commit(client);
  await pay(scene, order);
};

async function pay(scene: Scene, order: Row): Promise<void> {
  const { book, factory, client, nowMs } = scene;
  const state = factory.random.chance(0.85) ? 'captured' : 'failed';
  const work = book
    .begin()
    .insert('service_commerce_payment', factory.payment(order, state, nowMs));
  if (state === 'captured') {
    work.update('service_commerce_order', order, {
      status: 'paid',
      updated_at: factory.moment(nowMs),
    });
  }
  await work.commit(client);
}

const transfer: Action = async ({ book, factory, client }) => {
  const accounts = book.rows('service_wallet_account');
  const [from, to] = [factory.random.pick(accounts), factory.random.pick(accounts)];
  if (from === to) return;
  const amount = factory.random.integer(1, 50);
  const moved = (row: Row, by: number) => ({
    balance: `${Math.trunc(Number(row['balance'])) + by}.00000000`,
  });
  await book
    .begin()
    .update('service_wallet_account', from, moved(from, -amount))
    .update('service_wallet_account', to, moved(to, amount))
    .commit(client);
};

const editContent: Action = async (scene) => {
  const { book, factory, client, nowMs } = scene;
  const row = content(scene);
  const updatedAt = { updated_at: factory.moment(nowMs) };
  // Mostly the large body is left alone, and so is not in the change that PostgreSQL sends.
  const patch = factory.random.chance(0.8)
    ? { title: factory.phrase(5), ...updatedAt }
    : { body: factory.longText(8_000, 48_000), ...updatedAt };
  await book.begin().update('service_content_main', row, patch).commit(client);
};

const converse: Action = async (scene) => {
  const { book, factory, client, nowMs } = scene;
  const messages = Array.from({ length: factory.random.integer(2, 8) }, () =>
    factory.message(user(scene), nowMs),
  );
  const notifications = messages.map(() => factory.notification(user(scene), nowMs));
  await book
    .begin()
    .insert('service_messaging_message', ...messages)
    .insert('service_notification_main', ...notifications)
    .insert('service_content_comment', factory.comment(content(scene), user(scene), nowMs))
    .commit(client);
};

const observe: Action = async (scene) => {
  const { book, factory, client, nowMs } = scene;
  await book
    .begin()
    .insert('service_analytics_event', factory.analyticsEvent(user(scene), content(scene), nowMs))
    .insert('service_security_event', factory.securityEvent(user(scene), nowMs))
    .insert('service_campaign_broadcast_event', factory.broadcast(user(scene), nowMs))
    .insert('service_activity_trace', factory.trace(user(scene), nowMs))
    .insert('service_session_cache', factory.session(user(scene), nowMs))
    .commit(client);
};

const schedule: Action = async ({ book, factory, client, nowMs }) => {
  const running = book.rows('service_scheduler_job_run').find((run) => run['status'] === 'running');
  const work = book.begin().insert('service_scheduler_job_run', factory.jobRun(nowMs, false));
  if (running !== undefined) {
    const patch = { status: 'done', finished_at: Math.floor(nowMs / 1000) };
    work.update('service_scheduler_job_run', running, patch);
  }
  await work.commit(client);
};

const forgetTrace: Action = async ({ book, factory, client }) => {
  const row = factory.random.pick(book.rows('service_activity_trace'));
  await book.begin().delete('service_activity_trace', row).commit(client);
};

const refer: Action = async (scene) => {
  const { book, factory, client, nowMs } = scene;
  await book
    .begin()
    .insert('service_referral_link', factory.referral(user(scene), user(scene), nowMs))
    .commit(client);
};

const renameReferralCode: Action = async ({ book, factory, client }) => {
  const row = factory.random.pick(book.rows('service_referral_link'));
  await book
    .begin()
    .update('service_referral_link', row, { code: `renamed-${factory.random.hex(8)}` })
    .commit(client);
};

/** The key of a row with a large unchanged column moves: the hardest update to carry along. */
const moveCampaign: Action = async ({ book, factory, client }) => {
  const row = factory.random.pick(book.rows('service_campaign_main'));
  const moved = Number(row['id']) > campaigns ? Number(row['id']) - 1000 : Number(row['id']) + 1000;
  await book.begin().update('service_campaign_main', row, { id: moved }).commit(client);
};

const renameUser: Action = async (scene) => {
  const { book, factory, client, nowMs } = scene;
  const row = user(scene);
  const master = book.rows('master').find((candidate) => candidate['id'] === row['master_id']);
  const name = `renamed${factory.random.hex(6)}`;
  const work = book
    .begin()
    .update('service_user_master', row, { username: name, updated_at: factory.moment(nowMs) });
  if (master !== undefined) {
    work.update('master', master, {
      name,
      version: Number(master['version']) + 1,
      updated_at: factory.moment(nowMs),
    });
  }
  await work.commit(client);
};

const deleteContent: Action = async (scene) => {
  if (scene.book.count('service_content_main') < 50) return;
  await scene.book.begin().delete('service_content_main', content(scene)).commit(scene.client);
};

/** Takes the user, the contents, the orders and the whole audit trail along; only the change log keeps them. */
const deleteMaster: Action = async (scene) => {
  if (scene.book.count('service_user_master') < 50) return;
  const gone = user(scene);
  const master = scene.book.rows('master').find((row) => row['id'] === gone['master_id']);
  if (master !== undefined) await scene.book.begin().delete('master', master).commit(scene.client);
};

const changeOfMind: Action = async (scene) => {
  const { book, factory, client, nowMs } = scene;
  await book
    .begin()
    .insert('service_messaging_message', factory.message(user(scene), nowMs))
    .update('service_content_main', content(scene), { title: 'never seen' })
    .rollBack(client);
};

const emptyCache: Action = async ({ book, client }) => {
  await book.begin().truncate('service_session_cache').commit(client);
};

/** New columns: one that older orders read as a constant, one that they read as null. */
const migrate: Action = async (scene) => {
  const sql = /* sql */ `alter table service_commerce_order
    add column channel text not null default 'web', add column gift_note text`;
  await scene.client.query(sql);
  scene.migrated = true;
};

const actions: readonly Action[] = [
  ...Array.from({ length: 8 }, () => requestChain),
  ...Array.from({ length: 5 }, () => placeOrder),
  ...Array.from({ length: 4 }, () => converse),
  ...Array.from({ length: 4 }, () => observe),
  ...Array.from({ length: 4 }, () => editContent),
  ...Array.from({ length: 4 }, () => transfer),
  schedule,
  schedule,
  refer,
  renameReferralCode,
  renameUser,
  forgetTrace,
  moveCampaign,
  changeOfMind,
];

const rareActions: readonly Action[] = [
  moveCampaign,
  renameReferralCode,
  forgetTrace,
  deleteContent,
  migrate,
  emptyCache,
  changeOfMind,
  deleteMaster,
  moveCampaign,
  deleteMaster,
];
