import type { Mapping, MappedTable } from '../../models/mapping.ts';
import type { HistoryTable } from './lake-history.ts';

const plain: MappedTable = {
  kind: 'entity',
  service: 'core',
  entity: 'row',
  key: ['id'],
  master: null,
  parent: null,
  actor: null,
  tenant: null,
  event: null,
  references: [],
  amount: null,
  createdAt: null,
  updatedAt: null,
  masked: [],
  denied: [],
};

const ownMaster = { id: 'master_id', uuid: 'master_uuid' };
const createdAt = { column: 'created_at', as: 'timestamptz' } as const;
const anEvent = {
  type: 'event_type',
  at: { column: 'occurred_at', as: 'timestamptz' },
  status: null,
  payload: null,
  metadata: null,
  entityType: null,
  entityId: null,
  previousHash: null,
  entryHash: null,
} as const;
const byUser = { column: 'user_id', table: 'public.users', targetColumn: 'id' };

/** A small business in the pattern, with its traps; the tables of the histories in these tests. */
export const sampleMapping: Mapping = {
  version: 1,
  master: {
    table: 'public.master',
    id: 'id',
    uuid: 'uuid',
    type: 'type',
    name: 'name',
    createdAt,
    updatedAt: null,
  },
  tables: {
    'public.master': { ...plain, kind: 'master', service: 'master', entity: 'master', createdAt },
    'public.users': {
      ...plain,
      service: 'user',
      entity: 'user',
      master: ownMaster,
      createdAt,
      masked: ['email'],
      denied: ['password_hash'],
    },
    'public.campaigns': {
      ...plain,
      service: 'campaign',
      entity: 'campaign',
      master: { id: 'master_id', uuid: null },
    },
    'public.contents': {
      ...plain,
      service: 'content',
      entity: 'content',
      master: { id: 'master_id', uuid: null },
      references: [
        {
          column: 'author_id',
          table: 'public.users',
          targetColumn: 'id',
          typeColumn: null,
          declared: true,
        },
      ],
    },
    'public.comments': {
      ...plain,
      service: 'content',
      entity: 'comment',
      parent: { column: 'content_id', table: 'public.contents', targetColumn: 'id' },
      references: [
        {
          column: 'content_id',
          table: 'public.contents',
          targetColumn: 'id',
          typeColumn: null,
          declared: true,
        },
      ],
    },
    'public.links': {
      ...plain,
      service: 'referral',
      entity: 'link',
      key: ['code'],
      master: { id: 'master_id', uuid: null },
      references: [
        {
          column: 'referred_master_id',
          table: 'public.master',
          targetColumn: 'id',
          typeColumn: null,
          declared: true,
        },
      ],
    },
    'public.events': {
      ...plain,
      kind: 'event',
      service: 'nexus',
      entity: 'event',
      master: ownMaster,
      actor: byUser,
      tenant: { column: 'campaign_id', none: ['0', ''] },
      amount: 'amount',
      event: {
        ...anEvent,
        status: 'status',
        payload: 'payload',
        metadata: 'metadata',
        entityType: 'entity_type',
        entityId: 'entity_id',
      },
      references: [
        {
          column: 'campaign_id',
          table: 'public.campaigns',
          targetColumn: 'id',
          typeColumn: null,
          declared: false,
        },
        {
          column: 'entity_id',
          table: null,
          targetColumn: null,
          typeColumn: 'entity_type',
          declared: false,
        },
      ],
    },
    'public.audits': {
      ...plain,
      kind: 'event',
      service: 'security',
      entity: 'audit',
      master: { id: 'master_id', uuid: null },
      event: { ...anEvent, previousHash: 'prev_hash', entryHash: 'entry_hash' },
    },
    'public.job_runs': {
      ...plain,
      kind: 'event',
      service: 'scheduler',
      entity: 'job_run',
      master: { id: 'master_id', uuid: null },
      event: {
        ...anEvent,
        type: null,
        at: { column: 'started_at', as: 'epoch_seconds' },
        status: 'status',
      },
    },
    'public.traces': {
      ...plain,
      kind: 'event',
      service: 'activity',
      entity: 'trace',
      key: [],
      master: { id: 'master_id', uuid: null },
      event: { ...anEvent, type: 'action', at: { column: 'timestamp', as: 'timestamptz' } },
    },
  },
};

export const sampleTables: readonly HistoryTable[] = [
  {
    name: 'master',
    key: ['id'],
    columns: {
      id: 'bigint',
      uuid: 'uuid',
      type: 'varchar',
      name: 'varchar',
      created_at: 'timestamptz',
    },
  },
  {
    name: 'users',
    key: ['id'],
    columns: {
      id: 'uuid',
      master_id: 'bigint',
      master_uuid: 'uuid',
      email: 'varchar',
      password_hash: 'varchar',
      created_at: 'timestamptz',
    },
  },
  {
    name: 'campaigns',
    key: ['id'],
    columns: { id: 'bigint', master_id: 'bigint', slug: 'varchar' },
  },
  {
    name: 'contents',
    key: ['id'],
    columns: {
      id: 'uuid',
      master_id: 'bigint',
      author_id: 'uuid',
      title: 'varchar',
      body: 'varchar',
      tags: 'varchar[]',
    },
  },
  { name: 'comments', key: ['id'], columns: { id: 'bigint', content_id: 'uuid', body: 'varchar' } },
  {
    name: 'links',
    key: ['code'],
    columns: { code: 'varchar', master_id: 'bigint', referred_master_id: 'bigint' },
  },
  {
    name: 'events',
    key: ['id'],
    columns: {
      id: 'uuid',
      master_id: 'bigint',
      master_uuid: 'uuid',
      user_id: 'varchar',
      campaign_id: 'varchar',
      entity_type: 'varchar',
      entity_id: 'varchar',
      event_type: 'varchar',
      status: 'varchar',
      payload: 'json',
      metadata: 'varchar',
      amount: 'decimal(20,8)',
      occurred_at: 'timestamptz',
    },
  },
  {
    name: 'audits',
    key: ['id'],
    columns: {
      id: 'bigint',
      master_id: 'bigint',
      event_type: 'varchar',
      prev_hash: 'varchar',
      entry_hash: 'varchar',
      occurred_at: 'timestamptz',
    },
  },
  {
    name: 'job_runs',
    key: ['id'],
    columns: { id: 'bigint', master_id: 'bigint', status: 'varchar', started_at: 'bigint' },
  },
  {
    name: 'traces',
    key: [],
    columns: {
      master_id: 'bigint',
      action: 'varchar',
      values: 'decimal(20,8)[]',
      timestamp: 'timestamptz',
    },
  },
];
