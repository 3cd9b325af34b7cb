import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';

/** Two processes of the service on one database, and somebody who looks at it and locks what they need. */
export interface TwoReplicas {
  test: TestDatabase;
  admin: Client;
  one: Replica;
  two: Replica;
}

/** Opens them for the specs of a `describe` and closes them after. What it gives is filled in before the first spec. */
export function useTwoReplicas(): TwoReplicas {
  const opened: Partial<TwoReplicas> = {};
  beforeAll(async () => {
    const test = (opened.test = await createTestDatabase());
    const admin = (opened.admin = new Client({ connectionString: test.url }));
    await admin.connect();
    opened.one = await openReplica(test.url);
    opened.two = await openReplica(test.url);
  });
  afterAll(async () => {
    await opened.one?.close();
    await opened.two?.close();
    await opened.admin?.end();
    await opened.test?.drop();
  });
  return opened as TwoReplicas;
}

/** A name that no other spec has used for an organization. */
export function newOrganization(): string {
  return `org-${randomBytes(4).toString('hex')}`;
}
