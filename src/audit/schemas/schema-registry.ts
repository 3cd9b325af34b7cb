import { Injectable } from '@nestjs/common';
import type { Principal } from '../../auth/principal';
import { AppError, type FieldError, validationFailed } from '../../platform/errors/app-error';
import { UnacceptableJsonError } from '../../platform/runtime/lossless-json';
import { CompiledSchema } from './compiled-schema';
import { EventSchemas } from './event-schemas';
import { incompatibility } from './schema-compatibility';
import { MAX_SCHEMA_BYTES, readSchema, type Schema, UnusableSchemaError } from './schema-document';
import {
  type Compatibility,
  countStatement,
  findNewestStatement,
  findStatement,
  insertStatement,
  type SchemaKey,
  type SchemaMode,
  type SchemaSetting,
  SchemaStore,
  type SchemaVersion,
  setModeStatement,
  type StoredSchema,
  withdrawStatement,
} from './schema-store';
import { canonicalJsonText } from './json-literal';

/** Versions of all actions of an organization, withdrawn ones included. */
export const MAX_VERSIONS = 1000;

/** Commands about schemas: registration, withdrawal and mode, each for organizations of the token. */
@Injectable()
export class SchemaRegistry {
  constructor(
    private readonly store: SchemaStore,
    private readonly schemas: EventSchemas,
  ) {}

  findAll(organizationId: string, action: string | undefined): Promise<SchemaVersion[]> {
    return this.store.findAll(organizationId, action);
  }

  /** @throws AppError NOT_FOUND */
  async find(key: SchemaKey): Promise<StoredSchema> {
    return (await this.store.find(key)) ?? notFound();
  }

  findSetting(organizationId: string): Promise<SchemaSetting> {
    return this.store.findSetting(organizationId);
  }

  /**
   * Registers a version; the same schema again is the registered one. Events are checked against it when this resolves here,
   * and on all replicas within MAX_STALE_MS.
   * @throws AppError VALIDATION_FAILED for a schema that cannot be used; INCOMPATIBLE_SCHEMA with the place that refuses what
   * the version before accepts; CONFLICT for another schema of this version, a withdrawn one, and too many versions.
   */
  async register(
    principal: Principal,
    key: SchemaKey,
    { text, compatibility }: { text: string; compatibility: Compatibility },
  ): Promise<{ schema: StoredSchema; isNew: boolean }> {
    const schema = usable(text);
    const { organizationId } = key;
    const registered = await this.store.change(
      organizationId,
      principal.subject,
      async (client) => {
        const { rows: same } = await client.query<StoredSchema>(findStatement(key));
        const [existing] = same;
        if (existing) {
          requireSame(existing, text);
          return { isChanged: false, result: { schema: existing, isNew: false } };
        }
        const { rows: counts } = await client.query<{ count: number }>(
          countStatement(organizationId),
        );
        if ((counts[0]?.count ?? 0) >= MAX_VERSIONS) {
          const detail = `The organization has ${MAX_VERSIONS} versions of schemas, the most that it may have.`;
          throw new AppError('CONFLICT', detail);
        }
        const { rows: newest } = await client.query<StoredSchema>(findNewestStatement(key));
        if (newest[0] && compatibility === 'backward') requireCompatible(newest[0], schema);
        const { rows: inserted } = await client.query<StoredSchema>(
          insertStatement(key, { text, compatibility, subject: principal.subject }),
        );
        const [row] = inserted;
        if (!row) throw new Error('A registration has one row');
        return { isChanged: true, result: { schema: row, isNew: true } };
      },
    );
    await this.schemas.refresh();
    return registered;
  }

  /** Withdraws a version for good, and returns it. @throws AppError NOT_FOUND */
  async withdraw(principal: Principal, key: SchemaKey): Promise<StoredSchema> {
    const { organizationId } = key;
    const withdrawn = await this.store.change(organizationId, principal.subject, async (client) => {
      const { rows } = await client.query<StoredSchema>(findStatement(key));
      const [existing] = rows;
      if (!existing) return notFound();
      if (existing.withdrawnAt !== null) return { isChanged: false, result: existing };
      const { rows: changed } = await client.query<StoredSchema>(
        withdrawStatement(key, principal.subject),
      );
      return { isChanged: true, result: changed[0] ?? existing };
    });
    await this.schemas.refresh();
    return withdrawn;
  }

  async setMode(
    principal: Principal,
    organizationId: string,
    mode: SchemaMode,
  ): Promise<SchemaSetting> {
    await this.store.change(organizationId, principal.subject, async (client) => {
      const { rowCount } = await client.query(setModeStatement(organizationId, mode));
      return { isChanged: rowCount === 1, result: undefined };
    });
    await this.schemas.refresh();
    return this.store.findSetting(organizationId);
  }
}

function notFound(): never {
  throw new AppError('NOT_FOUND', 'The organization has no such version of a schema.');
}

/** The schema, which ajv has compiled once. @throws AppError VALIDATION_FAILED */
function usable(text: string): Schema {
  if (text.length > MAX_SCHEMA_BYTES) {
    const message = `must have at most ${MAX_SCHEMA_BYTES} bytes`;
    throw validationFailed([{ path: 'schema', message }]);
  }
  try {
    const schema = readSchema(text);
    new CompiledSchema(schema);
    return schema;
  } catch (error) {
    if (error instanceof UnusableSchemaError) throw validationFailed(error.faults.map(atSchema));
    if (!(error instanceof UnacceptableJsonError)) throw error;
    throw validationFailed([{ path: 'schema', message: error.message }]);
  }
}

/** A fault with its JSON Pointer behind the member of the body that has the schema. */
function atSchema({ pointer, reason }: { pointer: string; reason: string }): FieldError {
  return { path: `schema${pointer}`, message: reason };
}

function requireSame({ text, withdrawnAt }: StoredSchema, given: string): void {
  if (withdrawnAt !== null) {
    throw new AppError('CONFLICT', 'The version was withdrawn: register another one.');
  }
  if (canonicalJsonText(text) !== canonicalJsonText(given)) {
    throw new AppError('CONFLICT', 'The version has another schema: register another version.');
  }
}

function requireCompatible(older: StoredSchema, schema: Schema): void {
  const fault = incompatibility(readSchema(older.text), schema);
  if (!fault) return;
  const { path, message } = atSchema(fault);
  const detail = `${path} ${message}: version ${older.version} may accept events that this one refuses.`;
  throw new AppError('INCOMPATIBLE_SCHEMA', detail.slice(0, 1000), { errors: [{ path, message }] });
}
