import type { ExecutionResult, GraphQLFormattedError } from 'graphql';
import { createClient, type Client, type CloseCode } from 'graphql-ws';
import WebSocket from 'ws';

/** How a socket ended. */
export interface Ending {
  code: CloseCode | number;
  reason: string;
}

/** One operation of the stock client on a socket of its own, and all that came of it. */
export class GraphqlSubscriber {
  readonly data: Record<string, any>[] = []; // eslint-disable-line @typescript-eslint/no-explicit-any -- specs read members of many shapes
  readonly errors: GraphQLFormattedError[] = [];
  isOver = false;
  /** How its socket ended, once it has. */
  ending: Ending | undefined;
  /** Tells the service that it wants no more. */
  readonly leave: () => void;

  private constructor(
    private readonly client: Client,
    query: string,
    variables?: Record<string, unknown>,
  ) {
    client.on('closed', (event) => (this.ending = event as Ending));
    this.leave = client.subscribe(
      { query, variables },
      {
        next: ({ data, errors }: ExecutionResult<Record<string, unknown>>) => {
          if (data) this.data.push(data);
          if (errors) this.errors.push(...errors);
        },
        error: (error) => {
          if (Array.isArray(error)) this.errors.push(...(error as GraphQLFormattedError[]));
          this.isOver = true;
        },
        complete: () => (this.isOver = true),
      },
    );
  }

  static open(
    url: string,
    connectionParams: Record<string, unknown>,
    query: string,
    variables?: Record<string, unknown>,
  ): GraphqlSubscriber {
    const client = createClient({
      url: `${url.replace(/^http/, 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams,
      retryAttempts: 0,
    });
    return new GraphqlSubscriber(client, query, variables);
  }

  get codes(): unknown[] {
    return this.errors.map(({ extensions }) => extensions?.code);
  }

  async close(): Promise<void> {
    await this.client.dispose();
  }
}
