import { ERROR_TABLE, type ErrorCode } from '../../src/platform/errors/error-table';
import type { Answer, LoadSender } from '../integration/load.fixture';
import { EVENTS } from '../support/test-service';

/** A way in for many events at once. */
export interface BulkDoor {
  name: string;
  path: string;
  /** The body of a request that has the events of this JSON text stored. */
  body: (events: string) => string;
  /** An answer as REST would have given it. */
  inRest: (answer: Answer) => Answer;
}

interface GraphqlAnswer {
  data?: { bulkCreateAuditEvents: unknown } | null;
  errors?: { extensions?: { code?: string } }[];
}

const MUTATION = `mutation ($events: [CreateAuditEventInput!]!) {
  bulkCreateAuditEvents(events: $events) { results { id sequence } }
}`;

export const GRAPHQL = '/graphql';
export const TRPC_BULK = '/trpc/performance.bulkCreateAuditEvents';

export const BULK_DOORS: BulkDoor[] = [
  {
    name: 'REST',
    path: `${EVENTS}/bulk`,
    body: (events) => `{"events":${events}}`,
    inRest: (answer) => answer,
  },
  {
    name: 'GraphQL',
    path: GRAPHQL,
    body: (events) =>
      `{"query":${JSON.stringify(MUTATION)},"variables":{"events":${events.replaceAll('"success"', '"SUCCESS"')}}}`,
    inRest: (answer) => {
      // A field that fails does so in an answer of 200.
      if ('lost' in answer || answer.status !== 200) return answer;
      const { data, errors } = JSON.parse(answer.body) as GraphqlAnswer;
      if (!errors) return { ...answer, body: JSON.stringify(data?.bulkCreateAuditEvents) };
      const code = errors[0]?.extensions?.code as ErrorCode;
      return { ...answer, status: ERROR_TABLE[code].status };
    },
  },
  {
    name: 'tRPC',
    path: TRPC_BULK,
    body: (events) => `{"events":${events}}`,
    inRest: (answer) => {
      if ('lost' in answer || answer.status !== 200) return answer;
      const { result } = JSON.parse(answer.body) as { result: { data: unknown } };
      return { ...answer, body: JSON.stringify(result.data) };
    },
  },
];

/** Sends to any door, and hands on what came back as REST would have said it. */
export function inRest(sender: LoadSender): Pick<LoadSender, 'send'> {
  const doorOf = (path: string) => BULK_DOORS.find((door) => path.startsWith(door.path));
  return {
    send: async (url, request) => {
      const answer = await sender.send(url, request);
      return doorOf(request.path)?.inRest(answer) ?? answer;
    },
  };
}
