import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { memberTexts } from '../../../../test/support/json-text';
import { judge } from '../../../../test/support/ocsf/ocsf-schema';
import { readPublishedSchema } from '../../../../test/support/ocsf/published-schema';
import { USED_SCHEMA } from '../../../../test/support/ocsf/used-schema';
import { recordedEvent, recordedWith } from '../../../../test/support/recorded-event';
import { OCSF } from './ocsf';

// The published schema, too, where it is there (published-schema.spec.ts).
const folder = process.env.OCSF_SCHEMA ?? '';
const hasPublished = existsSync(join(folder, 'dictionary.json'));
const SCHEMAS = [USED_SCHEMA, ...(hasPublished ? [readPublishedSchema(folder)] : [])];

const SESSION = { sessionContext: { ipAddress: '198.51.100.7' } };
const BY = { principalId: 'user-1' };
const on = (targetResourceType: string) => ({ targetResourceType, targetResourceId: 'x' });

describe('an event in OCSF', () => {
  it('passes the schema without errors and warnings, and has the event to the letter', () => {
    const classes = new Set<number>();
    fc.assert(
      fc.property(recordedEvent, (eventText) => {
        const written = OCSF.write(eventText);
        expect(written).not.toMatch(/[\n\r]/);
        const event = JSON.parse(written) as Record<string, unknown>;
        for (const schema of SCHEMAS) {
          expect(judge(event, schema)).toEqual({ errors: [], warnings: [] });
        }
        expect(memberTexts(written).get('unmapped')).toBe(eventText);
        classes.add(event.class_uid as number);
      }),
      { numRuns: 1500, seed: 20 },
    );
    expect([...classes].sort((a, b) => a - b)).toEqual([0, 3001, 3002, 3004, 6003]);
  });

  it.each([
    ['user.login', BY, 3002, 1],
    ['user.signed_in', BY, 3002, 1],
    ['logIn', BY, 3002, 1],
    ['signin:ConsoleLogin', BY, 3002, 1],
    ['session.logout', { principalName: 'Ada' }, 3002, 2],
    ['user.login', {}, 0, 99],
    ['iam:DeleteLoginProfile', { ...BY, ...on('Invoice') }, 3004, 4],
    ['user.create', on('User'), 3001, 1],
    ['create', on('User'), 3001, 1],
    ['page.edit', on('User'), 3004, 3],
    ['user.updated', on('user_account'), 3001, 99],
    ['user.password.change', on('User'), 3001, 3],
    ['user.password.reset', on('User'), 3001, 4],
    ['user.disable', on('User'), 3001, 5],
    ['user.deleted', on('User'), 3001, 6],
    ['account.lock', on('Account'), 3001, 9],
    ['user.read', on('User'), 3004, 2],
    ['invoice.approve', on('Invoice'), 0, 99],
    ['invoice.approve', { ...on('Invoice'), ...BY, ...SESSION }, 6003, 99],
    ['fhirPatientRead', on('Patient'), 3004, 2],
    ['page.edit', on('Talk'), 3004, 3],
    ['patient.creating', on('Patient'), 3004, 1],
    ['document.renamed', on('Document'), 3004, 5],
    ['tenant.suspend', on('Tenant'), 3004, 12],
    ['invoice.update', { targetResourceType: 'Invoice' }, 0, 99],
    ['s3:GetBucketAcl', { ...BY, ...SESSION, ...on('Bucket') }, 6003, 2],
    ['s3:CreateBucket', { ...BY, ...SESSION }, 6003, 1],
    ['s3:GetBucketAcl', { ...BY, ...on('Bucket') }, 3004, 2],
    ['ping', {}, 0, 99],
  ])('%s of %j is of class %i, activity %i', (action, members, class_uid, activity_id) => {
    expect(JSON.parse(OCSF.write(recordedWith({ action, ...members })))).toMatchObject({
      class_uid,
      activity_id,
      type_uid: class_uid * 100 + activity_id,
      ...(activity_id === 99 ? { activity_name: action } : {}),
    });
  });

  it('has the members of the event where OCSF has attributes for them', () => {
    const event = recordedWith({
      ...{ action: 's3:PutObject', status: 'failure', outcomeDescription: 'Denied' },
      ...{ principalId: 'u1', principalName: 'Ada', principalType: 'service', correlationId: 'c1' },
      ...{ targets: [{ type: 'Object', id: 'k', name: null }, { type: 'Bucket' }] },
      source: { service: 'gateway', host: 'gw-1', version: null },
      sessionContext: { sessionId: 's1', ipAddress: 'AWS Internal', userAgent: 'aws-cli' },
      schemaVersion: '2',
    });
    expect(JSON.parse(OCSF.write(event))).toMatchObject({
      time: 1_795_429_800_123,
      severity_id: 2,
      status_id: 2,
      status_detail: 'Denied',
      metadata: {
        uid: '019ab1c2-3e4a-7000-8000-1234567890ab',
        sequence: 1042,
        tenant_uid: 'org-1',
        correlation_uid: 'c1',
        original_time: '2026-11-23T10:30:00.123456789Z',
        logged_time: 1_795_429_800_234,
        log_provider: 'gateway',
        log_version: '2',
      },
      actor: {
        user: { uid: 'u1', name: 'Ada', type_id: 99, type: 'service' },
        session: { uid: 's1' },
      },
      api: { operation: 'PutObject', service: { name: 's3' } },
      resources: [{ uid: 'k', type: 'Object' }],
      src_endpoint: { name: 'AWS Internal' },
      dst_endpoint: { svc_name: 'gateway', name: 'gw-1' },
      http_request: { user_agent: 'aws-cli' },
    });
  });

  it('has no sequence that needs more than 32 bits', () => {
    const sequenceOf = (sequence: string) =>
      JSON.parse(OCSF.write(recordedWith({ sequence }))).metadata.sequence as number | undefined;
    expect(sequenceOf('2147483647')).toBe(2_147_483_647);
    expect(sequenceOf('2147483648')).toBeUndefined();
  });
});
