import { describe, expect, test } from 'vitest';
import { PipelineError } from '../runtime/errors.ts';
import { mappingText, parseMapping } from './mapping-file.ts';
import type { Mapping } from './mapping.ts';

const mapping: Mapping = {
  version: 1,
  master: {
    table: 'public.master',
    id: 'id',
    uuid: null,
    type: null,
    name: null,
    createdAt: null,
    updatedAt: null,
  },
  tables: {
    'public.master': {
      kind: 'master',
      service: 'master',
      entity: 'master',
      key: ['id'],
      master: null,
      parent: null,
      actor: null,
      tenant: { column: 'campaign_id', none: ['0'] },
      event: null,
      references: [],
      amount: null,
      createdAt: null,
      updatedAt: null,
      masked: [],
      denied: ['password_hash'],
    },
  },
};

describe('a mapping file', () => {
  test('reads back as it was written', () => {
    expect(parseMapping(mappingText(mapping), 'mapping.yaml')).toEqual(mapping);
  });

  test('begins with its heading', () => {
    expect(mappingText(mapping, { heading: 'Review me.' })).toMatch(/^# Review me\.\n/);
  });

  test('keeps the comments of a reviewer when it is written again', () => {
    const reviewed = mappingText(mapping).replace(
      '    kind: master',
      '    # really\n    kind: master # yes',
    );
    const changed = { ...mapping, master: { ...mapping.master!, uuid: 'uuid' } };
    const text = mappingText(changed, { before: reviewed });
    expect(text).toContain('# really');
    expect(text).toContain('# yes');
    expect(parseMapping(text, 'mapping.yaml')).toEqual(changed);
  });

  test('drops tables that are gone and adds new ones', () => {
    const entry = mapping.tables['public.master']!;
    const next = { ...mapping, tables: { 'public.other': entry } };
    const text = mappingText(next, { before: mappingText(mapping) });
    expect(parseMapping(text, 'mapping.yaml')).toEqual(next);
  });

  test.each([
    ['broken YAML', 'version: [1', /line 1, column/],
    ['an unknown key', `${mappingText(mapping)}sevrices: 1\n`, /sevrices: is not known here/],
    [
      'a wrong kind',
      mappingText(mapping).replace('kind: master', 'kind: maste'),
      /line \d+, column \d+: tables › public.master › kind/,
    ],
    [
      'a table without schema',
      mappingText(mapping).replace('table: public.master', 'table: master'),
      /write it as schema\.table/,
    ],
    ['nothing', '', /is not a mapping/],
  ])('says where %s is wrong', (_name, text, message) => {
    const attempt = () => parseMapping(text, 'mapping.yaml');
    expect(attempt).toThrow(PipelineError);
    expect(attempt).toThrow(message);
  });
});
