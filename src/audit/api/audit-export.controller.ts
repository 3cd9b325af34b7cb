import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Scopes } from '../../auth/auth.guard';
import { CurrentPrincipal, type Principal } from '../../auth/principal';
import { preferredCoding, preferredMediaType } from '../../http/negotiation';
import { Operation } from '../../http/operation.openapi';
import { measureToFirstByte } from '../../http/request-times';
import type { ExportCoding } from '../../streaming/response-sink';
import { AuditExports, type ExportQuery } from '../export/audit-exports';
import { AuditExportQuery } from '../export/dto/audit-export-query.dto';
import { filterOf, sortOf } from '../read/dto/audit-events-query.dto';
import { AUDIT_ROUTES } from './audit.controller';
import { EXPORT_EVENTS } from './audit.openapi';

/** Exports over REST. Registered before AuditController, whose `:id` would match `stream`. */
@ApiTags('audit events')
@Controller(AUDIT_ROUTES)
export class AuditExportController {
  constructor(private readonly exports: AuditExports) {}

  @Get('stream')
  @Scopes('audit:export')
  @Operation(EXPORT_EVENTS)
  async export(
    @CurrentPrincipal() principal: Principal,
    @Query() query: AuditExportQuery,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    measureToFirstByte(response); // the rest depends on its reader
    await this.exports.serve(principal, exportQueryOf(query, request), response);
  }
}

function exportQueryOf(query: AuditExportQuery, request: Request): ExportQuery {
  return {
    filter: filterOf(query),
    sort: sortOf(query),
    ...layoutOf(query, request),
    coding: codingOf(query.compression, request.headers['accept-encoding']),
    chunkRows: query.chunk_size,
    isRawCsv: query.csv_raw,
    hasBom: query.bom,
    delimiter: query.delimiter,
    columns: query.columns,
    cursor: query.cursor,
    after: {
      timestamp: query.after_timestamp,
      id: query.after_id,
      recordedAt: query.after_recorded_at,
      organizationId: query.after_organization_id,
    },
  };
}

type Layout = Pick<ExportQuery, 'format' | 'schema'>;

const LAYOUT_OF = {
  'application/json': { format: 'json' },
  'application/x-ndjson': { format: 'ndjson' },
  'text/csv': { format: 'csv' },
  'application/cloudevents-batch+json': { format: 'json', schema: 'cloudevents' },
} as const satisfies Record<string, Layout>;
const EXPORT_TYPES = Object.keys(LAYOUT_OF) as (keyof typeof LAYOUT_OF)[];

/** The layout of the parameters; without a format, the one that `Accept` prefers. */
function layoutOf({ format, schema }: AuditExportQuery, { headers }: Request): Layout {
  if (format !== undefined) return { format, schema };
  const type = preferredMediaType(headers.accept, EXPORT_TYPES);
  if (type !== undefined) return { ...LAYOUT_OF[type], ...(schema && { schema }) };
  // Many clients list text/plain among what they take: it selects CEF only where no other type is acceptable.
  const isText = preferredMediaType(headers.accept, ['text/plain']) !== undefined;
  return { format: isText ? 'cef' : 'json', schema };
}

function codingOf(compression: boolean | undefined, accepted: string | undefined): ExportCoding {
  if (compression === false) return 'identity';
  const preferred = preferredCoding(accepted);
  if (preferred === 'br' || preferred === 'gzip') return preferred;
  return compression === true ? 'gzip' : 'identity';
}
