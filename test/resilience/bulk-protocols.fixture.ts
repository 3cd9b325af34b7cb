import { ERROR_TABLE, type ErrorCode } from '../../src/platform/errors/app-error';
import type { Answer, LoadSender } from '../integration/load.fixture';
import { EVENTS } from '../support/test-service';

/** A way in for many events at once. */
export interface BulkProtocol {
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

export const BULK_PROTOCOLS: BulkProtocol[] = [
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

/** Sends through any protocol and returns the response that REST would have given. */
export function inRest(sender: LoadSender): Pick<LoadSender, 'send'> {
  const protocolOf = (path: string) =>
    BULK_PROTOCOLS.find((protocol) => path.startsWith(protocol.path));
  return {
    send: async (url, request) => {
      const answer = await sender.send(url, request);
      return protocolOf(request.path)?.inRest(answer) ?? answer;
    },
  };
}
