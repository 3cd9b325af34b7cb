import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import { map, type Observable } from 'rxjs';
import type { PageInfo, Paged } from './page';

/**
 * Adds RFC 8288 `Link` headers (first, prev, next) to an answer that is a page. The targets are relative references
 * to the same query with another cursor or offset, so they hold behind any proxy.
 */
@Injectable()
export class PageLinkInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler<Paged>): Observable<Paged> {
    const http = context.switchToHttp();
    return next.handle().pipe(
      map((page) => {
        const { originalUrl } = http.getRequest<Request>();
        http.getResponse<Response>().setHeader('Link', linkHeader(originalUrl, page.pagination));
        return page;
      }),
    );
  }
}

/** The Link header for a page that `url` asked for. */
export function linkHeader(url: string, page: PageInfo): string {
  return linksOf(url, page).join(', ');
}

/** The values of the Link header for a page that `url` asked for. */
export function linksOf(url: string, page: PageInfo): string[] {
  const link = (rel: string, change: Record<string, string>): string => {
    const target = new URL(url, 'http://localhost');
    for (const name of ['cursor', 'offset', 'include_total']) target.searchParams.delete(name);
    for (const [name, value] of Object.entries(change)) target.searchParams.set(name, value);
    return `<${target.pathname}${target.search}>; rel="${rel}"`;
  };
  const links = [link('first', {})];
  const offset = page.offset ?? 0;
  if (page.previousCursor !== undefined) links.push(link('prev', { cursor: page.previousCursor }));
  else if (page.hasPrevious) {
    links.push(link('prev', { offset: String(Math.max(0, offset - page.limit)) }));
  }
  if (page.nextCursor !== undefined) links.push(link('next', { cursor: page.nextCursor }));
  return links;
}
