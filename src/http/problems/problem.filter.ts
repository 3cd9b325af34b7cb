import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { writeProblem } from '../../platform/errors/problem';

/** Writes errors of REST handlers as application/problem+json, and logs them. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    writeProblem(thrown, http.getRequest<IncomingMessage>(), http.getResponse<ServerResponse>());
  }
}
