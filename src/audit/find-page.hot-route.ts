import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { knownPrincipal } from '../auth/known-principal';
import type { Principal } from '../auth/principal';
import { TokenVerifier } from '../auth/token-verifier';
import { writeProblem } from '../errors/problem.filter';
import { writeJson } from '../front/front.adapter';
import { HotRoutes } from '../front/hot-routes';
import { plainlyAcceptsJson } from '../front/negotiation';
import { parseQuery } from '../front/query-string';
import { validQuery } from '../front/validation/validation.pipe';
import { linkHeader } from '../pagination/page-link.interceptor';
import { EVENT_PATHS } from './audit.controller';
import type { PageQuery } from './audit-pages';
import { AuditService } from './audit.service';
import { AuditEventsQuery, pageQueryOf } from './dto/audit-events-query.dto';

/**
 * `GET /audit/events` in front of express, as CreateEventHotRoute is for writing: the same verifier, validator,
 * service, links and errors as AuditController.findPage. A client that wants its answer compressed gets it the
 * ordinary way.
 */
@Injectable()
export class FindPageHotRoute implements OnModuleInit {
  constructor(
    private readonly routes: HotRoutes,
    private readonly verifier: TokenVerifier,
    private readonly audit: AuditService,
  ) {}

  onModuleInit(): void {
    for (const path of EVENT_PATHS) {
      this.routes.register('GET', path, (request, response, handOn) => {
        const principal = isPlain(request)
          ? knownPrincipal(this.verifier, request, 'audit:read')
          : undefined;
        const query = principal ? pageQueryIn(request) : undefined;
        if (!principal || !query) return handOn();
        this.findPage(principal, query, request, response).catch((error: unknown) =>
          writeProblem(error, request, response),
        );
      });
    }
  }

  private async findPage(
    principal: Principal,
    query: PageQuery,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    response.setHeader('Vary', 'Accept-Encoding');
    const page = await this.audit.findPage(principal, query);
    response.setHeader('Link', linkHeader(request.url ?? '', page.pagination));
    writeJson(response, page.toJsonText());
  }
}

function isPlain({ headers }: IncomingMessage): boolean {
  const encoding = headers['accept-encoding'];
  return (encoding === undefined || encoding === 'identity') && plainlyAcceptsJson(headers.accept);
}

/** The page that a request asks for, or undefined when there is anything wrong with its query. */
function pageQueryIn({ url = '' }: IncomingMessage): PageQuery | undefined {
  const mark = url.indexOf('?');
  try {
    const query = mark === -1 ? {} : parseQuery(url.slice(mark + 1));
    return pageQueryOf(validQuery(AuditEventsQuery, query));
  } catch {
    return undefined;
  }
}
