import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { toAppError } from '../../platform/errors/problem';
import { requestIdOf } from '../../http/request-context';
import { shownError } from './graphql-errors';

/** The media type whose status reports errors of the request. */
export const GRAPHQL_RESPONSE = 'application/graphql-response+json';

/** Failures before an operation is known: the status of their kind, and a GraphQL body. */
@Catch()
export class GraphqlFilter implements ExceptionFilter {
  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<IncomingMessage>();
    const response = http.getResponse<ServerResponse>();
    const error = toAppError(thrown);
    const shown = shownError(error, requestIdOf(request));
    if (response.headersSent) {
      response.destroy();
      return;
    }
    for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
    if (error.retryAfterSeconds !== undefined) {
      response.setHeader('Retry-After', String(Math.ceil(error.retryAfterSeconds)));
    }
    const isAccepted = String(request.headers.accept ?? '').includes(GRAPHQL_RESPONSE);
    const type = isAccepted ? GRAPHQL_RESPONSE : 'application/json';
    const text = JSON.stringify({ errors: [shown] });
    writeGraphql(response, error.status, text, `${type}; charset=utf-8`);
  }
}

export function writeGraphql(
  response: ServerResponse,
  status: number,
  text: string,
  contentType: string,
): void {
  const body = Buffer.from(text);
  response.statusCode = status;
  response.setHeader('Content-Type', contentType);
  response.setHeader('Content-Length', body.length);
  response.setHeader('Cache-Control', 'no-store');
  response.end(body);
}
