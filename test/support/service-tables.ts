/**
 * DDL and rows of a business with many services, in the shapes that real ones drift into: a uuid or a
 * varchar where others have a bigint, nullable or missing master ids, no key, composite keys, epochs.
 */
export function serviceTablesSql(services: number): string {
  const master = /* sql */ `
    create table master (id bigint primary key, uuid uuid unique not null default gen_random_uuid(),
      type text not null, name text not null, created_at timestamptz not null default now(),
      updated_at timestamptz, unique (name, type));
    insert into master (id, type, name) select i, 'thing', 'thing ' || i from generate_series(1, 200) i;`;
  const tables = Array.from({ length: services }, (_, index) => serviceSql(index));
  return [master, ...tables].join('\n');
}

const keyTypes = [
  ['bigint', 'i'],
  ['uuid', 'gen_random_uuid()'],
  ['varchar(64)', "'k' || i"],
  ['integer', 'i'],
] as const;
const campaignTypes = [
  ['bigint', 'i % 7'],
  ['varchar(32)', '(i % 7)::text'],
  ['smallint', 'i % 7'],
] as const;
const momentTypes = [
  ['timestamptz', "now() - i * interval '1 hour'"],
  ['timestamp', "now()::timestamp - i * interval '1 hour'"],
  ['bigint', '1700000000 + i'],
] as const;

const cycle = <T>(items: readonly T[], index: number): T => {
  const item = items[index % items.length];
  if (item === undefined) throw new RangeError('nothing to cycle through');
  return item;
};

function serviceSql(index: number): string {
  const name = `service_svc${index}_${index % 3 === 0 ? 'event' : 'main'}`;
  const [key, keyValue] = cycle(keyTypes, index);
  const [campaign, campaignValue] = cycle(campaignTypes, index);
  const [moment, momentValue] = cycle(momentTypes, index);
  const hasMaster = index % 7 !== 6;
  const columns = [
    `id ${key} ${index % 11 === 10 ? '' : 'primary key'}`,
    ...(hasMaster
      ? [
          `master_id bigint ${index % 5 === 0 ? '' : 'not null'} references master (id) on delete cascade`,
        ]
      : []),
    ...(index % 2 === 0 ? ['master_uuid uuid'] : []),
    `campaign_id ${campaign}`,
    `status ${index % 4 === 0 ? 'smallint' : 'text'}`,
    ...(index % 3 === 0
      ? [`event_type text not null`, `occurred_at ${moment} not null`, 'payload jsonb']
      : []),
    `created_at timestamptz not null default now()`,
  ];
  const values = [
    keyValue,
    ...(hasMaster ? ['1 + i % 200'] : []),
    ...(index % 2 === 0 ? ['gen_random_uuid()'] : []),
    campaignValue,
    index % 4 === 0 ? 'i % 3' : "'s' || i % 3",
    ...(index % 3 === 0
      ? [`'svc${index}:create:v1:requested'`, momentValue, `jsonb_build_object('n', i)`]
      : []),
    'now()',
  ];
  return `create table ${name} (${columns.join(', ')});
    insert into ${name} select ${values.join(', ')} from generate_series(1, 50) i;`;
}
