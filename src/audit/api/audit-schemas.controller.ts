import {
  Body,
  Controller,
  Delete,
  Get,
  Header,
  Param,
  Put,
  Query,
  Req,
  Res,
  UseInterceptors,
} from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Scopes } from '../../auth/auth.guard';
import { CurrentPrincipal, type Principal, resolveOrganizations } from '../../auth/principal';
import { LimitConcurrency } from '../../concurrency/fair-scheduler';
import {
  type BodyRequest,
  JsonBodyInterceptor,
  parseJsonBytes,
  RAW_BODY,
} from '../../http/body-reader';
import { Operation } from '../../http/operation.openapi';
import { type FieldError, validationFailed } from '../../platform/errors/app-error';
import { exactJsonText, keepExactMembers } from '../../platform/runtime/lossless-json';
import { type Rule, text } from '../../validation/constraints';
import { MAX_NAME_LENGTH, MAX_VERSION_LENGTH } from '../event/audit-event';
import {
  RegisterSchemaDto,
  SchemaModeDto,
  SchemaQuery,
  type SchemaListDto,
  type SchemaSettingDto,
  SchemasQuery,
} from '../schemas/dto/schemas.dto';
import { SchemaRegistry } from '../schemas/schema-registry';
import type { SchemaKey, StoredSchema } from '../schemas/schema-store';
import {
  LIST_SCHEMAS,
  REGISTER_SCHEMA,
  SET_MODE,
  SHOW_MODE,
  SHOW_SCHEMA,
  WITHDRAW_SCHEMA,
} from './audit-schemas.openapi';
import { JsonTextResponse } from './json-text-response';

/** Schemas of actions: versions, and the mode of an organization (docs/adr/0056-schemas-of-actions.md). */
@ApiTags('schemas')
@Controller('audit/schemas')
@Scopes('schemas:manage')
export class AuditSchemasController {
  constructor(private readonly registry: SchemaRegistry) {}

  @Get()
  @Header('Cache-Control', 'no-store')
  @LimitConcurrency()
  @Operation(LIST_SCHEMAS)
  async list(
    @CurrentPrincipal() principal: Principal,
    @Query() query: SchemasQuery,
  ): Promise<SchemaListDto> {
    const organizationId = organizationIn(principal, query);
    const versions = await this.registry.findAll(organizationId, query.action);
    return { data: versions.map((one) => ({ organizationId, ...one })) };
  }

  @Get('mode')
  @Header('Cache-Control', 'no-store')
  @LimitConcurrency()
  @Operation(SHOW_MODE)
  async showMode(
    @CurrentPrincipal() principal: Principal,
    @Query() query: SchemaQuery,
  ): Promise<SchemaSettingDto> {
    const organizationId = organizationIn(principal, query);
    return { organizationId, ...(await this.registry.findSetting(organizationId)) };
  }

  @Put('mode')
  @Header('Cache-Control', 'no-store')
  @LimitConcurrency()
  @UseInterceptors(JsonBodyInterceptor)
  @Operation(SET_MODE)
  async setMode(
    @CurrentPrincipal() principal: Principal,
    @Query() query: SchemaQuery,
    @Body() { mode }: SchemaModeDto,
  ): Promise<SchemaSettingDto> {
    const organizationId = organizationIn(principal, query);
    return { organizationId, ...(await this.registry.setMode(principal, organizationId, mode)) };
  }

  @Get(':action/:version')
  @Header('Cache-Control', 'no-store')
  @LimitConcurrency()
  @Operation(SHOW_SCHEMA)
  async show(
    @CurrentPrincipal() principal: Principal,
    @Param('action') action: string,
    @Param('version') version: string,
    @Query() query: SchemaQuery,
  ): Promise<JsonTextResponse> {
    const key = this.keyOf(principal, query, action, version);
    return responseOf(key.organizationId, await this.registry.find(key));
  }

  @Put(':action/:version')
  @Header('Cache-Control', 'no-store')
  @LimitConcurrency()
  @UseInterceptors(JsonBodyInterceptor)
  @Operation(REGISTER_SCHEMA)
  async register(
    @CurrentPrincipal() principal: Principal,
    @Param('action') action: string,
    @Param('version') version: string,
    @Query() query: SchemaQuery,
    @Body() { compatibility }: RegisterSchemaDto,
    @Req() request: BodyRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<JsonTextResponse> {
    const key = this.keyOf(principal, query, action, version);
    const { schema, isNew } = await this.registry.register(principal, key, {
      text: schemaTextIn(request),
      compatibility: compatibility ?? 'backward',
    });
    response.status(isNew ? 201 : 200);
    return responseOf(key.organizationId, schema);
  }

  @Delete(':action/:version')
  @Header('Cache-Control', 'no-store')
  @LimitConcurrency()
  @Operation(WITHDRAW_SCHEMA)
  async withdraw(
    @CurrentPrincipal() principal: Principal,
    @Param('action') action: string,
    @Param('version') version: string,
    @Query() query: SchemaQuery,
  ): Promise<JsonTextResponse> {
    const key = this.keyOf(principal, query, action, version);
    return responseOf(key.organizationId, await this.registry.withdraw(principal, key));
  }

  private keyOf(
    principal: Principal,
    query: SchemaQuery,
    action: string,
    version: string,
  ): SchemaKey {
    const errors = [
      ...violationsOf('action', action, text(MAX_NAME_LENGTH, 1)),
      ...violationsOf('version', version, text(MAX_VERSION_LENGTH, 1)),
    ];
    if (errors.length > 0) throw validationFailed(errors);
    const organizationId = organizationIn(principal, query);
    return { organizationId, action, version };
  }
}

/** @throws AppError FORBIDDEN for an organization that the token does not have. */
function organizationIn(principal: Principal, { organization_id: id }: SchemaQuery): string {
  resolveOrganizations(principal, [id]);
  return id;
}

function violationsOf(path: string, value: string, rule: Rule): FieldError[] {
  const violation = rule(value);
  return typeof violation === 'string' ? [{ path, message: violation }] : [];
}

/** The schema of a valid body with the numbers as they were sent, which a body keeps in some members alone. */
function schemaTextIn(request: BodyRequest): string {
  const body = parseJsonBytes(request[RAW_BODY] ?? Buffer.alloc(0)) as RegisterSchemaDto;
  keepExactMembers(body);
  const { schema } = body;
  return typeof schema === 'boolean' ? String(schema) : exactJsonText(schema);
}

function responseOf(organizationId: string, { text: json, ...version }: StoredSchema) {
  const members = JSON.stringify({ organizationId, ...version });
  return new JsonTextResponse(`${members.slice(0, -1)},"schema":${json}}`);
}
