import { findIdentifier, mapCloudTrail } from './cloudtrail.mapping';
import { UnmappableRecord, type JsonObject } from './record-mapping';

const RECORD = {
  userIdentity: { arn: 'arn:aws:iam::1:user/u', principalId: 'AID', accessKeyId: 'AKIA' },
  eventTime: '2023-07-10T11:42:36Z',
  eventSource: 's3.amazonaws.com',
  eventName: 'GetBucketAcl',
  sourceIPAddress: 'AWS Internal',
  userAgent: 'agent',
  requestID: 'request',
  eventID: '293BA626-3be5-4a26-ab1b-0f4c54f49959',
  recipientAccountId: '123',
};

function map(changes: JsonObject = {}, organizationId?: string) {
  const value = { ...RECORD, ...changes };
  const ids = { derivedId: () => 'derived', namedId: () => 'named' };
  return mapCloudTrail({ value, organizationId, text: '', isBasic: false, ...ids });
}

describe('mapCloudTrail', () => {
  it('maps a record', () => {
    expect(JSON.parse(JSON.stringify(map()))).toEqual({
      id: '293ba626-3be5-4a26-ab1b-0f4c54f49959',
      timestamp: '2023-07-10T11:42:36Z',
      organizationId: '123',
      principalId: 'arn:aws:iam::1:user/u',
      action: 's3:GetBucketAcl',
      targetResourceType: 's3.amazonaws.com',
      status: 'success',
      dataClassification: 'INTERNAL',
      correlationId: 'request',
      sessionContext: { sessionId: 'AKIA', ipAddress: 'AWS Internal', userAgent: 'agent' },
      source: { service: 's3.amazonaws.com' },
    });
  });

  it('names the kind of the principal, its name, and the region', () => {
    const sessionIssuer = { userName: 'role' };
    expect(map({ awsRegion: 'us-east-1', userIdentity: { type: 'Root' } })).toMatchObject({
      principalType: 'Root',
      source: { service: 's3.amazonaws.com', host: 'us-east-1' },
    });
    const assumed = { type: 'AssumedRole', sessionContext: { sessionIssuer } };
    expect(map({ userIdentity: assumed }).principalName).toBe('role');
    const both = { userName: 'user', sessionContext: { sessionIssuer } };
    expect(map({ userIdentity: both }).principalName).toBe('user');
    expect(map({ userIdentity: { type: 't'.repeat(65) } }).principalType).toBeUndefined();
  });

  it('has the resources as targets when there are several, the first as the target resource', () => {
    const one = { type: 'AWS::KMS::Key', ARN: 'arn:1' };
    expect(map({ resources: [one] }).targets).toBeUndefined();
    expect(map({ resources: [one, { ARN: 'a'.repeat(256) }, {}, null] }).targets).toBeUndefined();
    expect(map({ resources: [one, { type: 'b', ARN: 'arn:2' }, { ARN: 'arn:3' }] })).toMatchObject({
      targetResourceType: 'AWS::KMS::Key',
      targetResourceId: 'arn:1',
      targets: [
        { type: 'AWS::KMS::Key', id: 'arn:1' },
        { type: 'b', id: 'arn:2' },
        { type: undefined, id: 'arn:3' },
      ],
    });
    const many = Array.from({ length: 150 }, (_, at) => ({ ARN: `arn:${at}` }));
    expect(map({ resources: many }).targets).toHaveLength(100);
  });

  it.each(['eventTime', 'eventSource', 'eventName', 'recipientAccountId'])(
    'refuses a record without %s',
    (name) => {
      expect(() => map({ [name]: null })).toThrow(UnmappableRecord);
      expect(() => map({ [name]: 12 })).toThrow(new RegExp(`^${name} is missing`));
    },
  );

  it('prefers --organization, and needs no account then', () => {
    expect(map({ recipientAccountId: undefined }, 'mine').organizationId).toBe('mine');
  });

  it('leaves the id to the derivation when the event id is no UUID', () => {
    expect(map({ eventID: 'none' }).id).toBeUndefined();
  });

  it.each<[JsonObject | undefined, string]>([
    [{ arn: '', principalId: 'AID' }, 'AID'],
    [{ arn: 'a'.repeat(256), principalId: 'AID' }, 'AID'],
    [{ invokedBy: 'ec2.amazonaws.com' }, 'ec2.amazonaws.com'],
    [undefined, 's3.amazonaws.com'],
  ])('names the principal of %j', (userIdentity, principalId) => {
    expect(map({ userIdentity }).principalId).toBe(principalId);
  });

  it.each<[JsonObject, string, string | undefined]>([
    [{ errorCode: 'AccessDenied', errorMessage: 'no' }, 'failure', 'AccessDenied: no'],
    [{ errorCode: 'AccessDenied' }, 'failure', 'AccessDenied'],
    [{ errorMessage: 'no' }, 'failure', 'no'],
    [{ errorCode: 'Long', errorMessage: 'x'.repeat(10_000) }, 'failure', 'Long'],
    [{ responseElements: { ConsoleLogin: 'Failure' } }, 'failure', undefined],
    [{ responseElements: { ConsoleLogin: 'Success' }, errorCode: null }, 'success', undefined],
  ])('maps the outcome of %j', (changes, status, outcomeDescription) => {
    expect(map(changes)).toMatchObject({ status, outcomeDescription });
  });

  it.each([
    ['secretsmanager', 'GetSecretValue', 'CONFIDENTIAL'],
    ['kms', 'Decrypt', 'CONFIDENTIAL'],
    ['ssm', 'GetParametersByPath', 'CONFIDENTIAL'],
    ['ssm', 'PutParameter', 'INTERNAL'],
    ['iam', 'GetUser', 'INTERNAL'],
  ])('classifies %s:%s as %s', (service, eventName, dataClassification) => {
    const eventSource = `${service}.amazonaws.com`;
    expect(map({ eventSource, eventName })).toMatchObject({ dataClassification });
  });

  it('takes the first resource, its service when it has no type, and no id that is too long', () => {
    const ARN = 'arn:aws:s3:::bucket';
    expect(map({ resources: [{ type: 'AWS::S3::Bucket', ARN }, { ARN: 'other' }] })).toMatchObject({
      targetResourceType: 'AWS::S3::Bucket',
      targetResourceId: ARN,
    });
    expect(map({ resources: [{ ARN }] }).targetResourceType).toBe('s3.amazonaws.com');
    const long = map({
      resources: [{ ARN: ARN.padEnd(256, 'x') }],
      requestParameters: { id: 'b' },
    });
    expect(long.targetResourceId).toBeUndefined();
  });

  it('omits a session of which nothing is known', () => {
    const changes = { userIdentity: { accessKeyId: '' }, sourceIPAddress: null, userAgent: '' };
    expect(map(changes).sessionContext).toBeUndefined();
  });

  it('correlates by the shared event, the request, then the event', () => {
    expect(map({ sharedEventID: 'shared' }).correlationId).toBe('shared');
    expect(map({ requestID: undefined }).correlationId).toBe(RECORD.eventID);
  });
});

describe('findIdentifier', () => {
  it.each<[unknown, string | undefined]>([
    [null, undefined],
    [{ maxResults: '1', bucketName: 'b' }, 'b'],
    [{ dBInstanceIdentifier: 'd' }, 'd'],
    [{ role: 'arn:aws:iam::1:role/r' }, 'arn:aws:iam::1:role/r'],
    [{ instancesSet: { items: [{ instanceId: 'i-1' }] } }, 'i-1'],
    [{ set: { innerId: 'inner' }, outerId: 'outer' }, 'outer'],
    [{ trailNameList: ['t'] }, 't'],
    [{ R: { NatGatewayId: { tag: 1, content: 'nat' } } }, 'nat'],
    [{ filters: [{ name: 'n' }], filterSet: { id: 'x' }, tags: { id: 'x' } }, undefined],
    [{ clientToken: 'c', nextToken: 'n', grid: 'g', valid: 'v', policyDocument: '{}' }, undefined],
    [{ secretId: 'x'.repeat(256), otherId: 'short' }, 'short'],
    [{ id: '', name: 'n' }, 'n'],
  ])('finds in %j', (parameters, identifier) => {
    expect(findIdentifier(parameters)).toBe(identifier);
  });
});
