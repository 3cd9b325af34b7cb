import { Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { Database } from '../../platform/database/database';
import { toDatabaseError } from '../../platform/database/database-errors';
import { AppError } from '../../platform/errors/app-error';

export const MODES = ['off', 'warn', 'enforce'] as const;
/** The effect of faults of events: nothing is checked, they are counted and logged, or the event is refused. */
export type SchemaMode = (typeof MODES)[number];

export const COMPATIBILITIES = ['backward', 'none'] as const;
/** Tells if a version had to accept all that the version before accepts. */
export type Compatibility = (typeof COMPATIBILITIES)[number];

export interface SchemaKey {
  organizationId: string;
  action: string;
  version: string;
}

/** A registered version without its text. Times are ISO 8601 in UTC. */
export interface SchemaVersion {
  action: string;
  version: string;
  compatibility: Compatibility;
  registeredAt: string;
  registeredBy: string;
  withdrawnAt: string | null;
}

export interface StoredSchema extends SchemaVersion {
  /** JSON text, the numbers as they were sent. */
  text: string;
}

export interface SchemaSetting {
  mode: SchemaMode;
  changedAt: string | null;
}

/** A version that events are checked against; `id` differs for each registration. */
export interface ActiveVersion {
  action: string;
  version: string;
  id: string;
}

/** Settings of organizations that check events, and a text that differs after any change. */
export interface ActiveSettings {
  tag: string;
  settings: ReadonlyMap<string, { mode: 'warn' | 'enforce'; revision: string }>;
}

const INSTANT = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`;
const VERSION_COLUMNS = `action, version, compatibility, to_char(registered_at, ${INSTANT}) AS "registeredAt",
  registered_by AS "registeredBy", to_char(withdrawn_at, ${INSTANT}) AS "withdrawnAt"`;
const OF_KEY = 'organization_id = $1 AND action = $2 AND version = $3';
const ID = `ordinal || ' ' || extract(epoch FROM registered_at)`;

/** The statements of schemas, on the primary: a replica may lag behind a version that events name. */
@Injectable()
export class SchemaStore {
  constructor(private readonly database: Database) {}

  /** All versions of an organization, or of one action, in the order of their registration. */
  async findAll(organizationId: string, action: string | undefined): Promise<SchemaVersion[]> {
    return this.read<SchemaVersion>({
      name: 'schema-find-all',
      text: `SELECT ${VERSION_COLUMNS} FROM audit_schema
             WHERE organization_id = $1 AND ($2::text IS NULL OR action = $2) ORDER BY action, ordinal`,
      values: [organizationId, action ?? null],
    });
  }

  async find(key: SchemaKey): Promise<StoredSchema | undefined> {
    const [found] = await this.read<StoredSchema>(findStatement(key));
    return found;
  }

  async findSetting(organizationId: string): Promise<SchemaSetting> {
    const [found] = await this.read<SchemaSetting>({
      name: 'schema-find-setting',
      text: `SELECT mode, CASE WHEN revision > 0 THEN to_char(changed_at, ${INSTANT}) END AS "changedAt"
             FROM audit_schema_setting WHERE organization_id = $1`,
      values: [organizationId],
    });
    return found ?? { mode: 'off', changedAt: null };
  }

  /** A text that differs after each change of any organization. Revisions only grow, and appear with their commit. */
  async findTag(): Promise<string> {
    const [found] = await this.read<{ tag: string }>({
      name: 'schema-find-tag',
      text: `SELECT coalesce(sum(revision), 0) || ' ' || coalesce(max(changed_at)::text, '') AS tag
             FROM audit_schema_setting`,
    });
    return found?.tag ?? '';
  }

  async findActiveSettings(): Promise<ActiveSettings['settings']> {
    const rows = await this.read<{ id: string; mode: 'warn' | 'enforce'; revision: string }>({
      name: 'schema-find-active',
      text: `SELECT organization_id AS id, mode, revision::text FROM audit_schema_setting WHERE mode <> 'off'`,
    });
    return new Map(rows.map(({ id, mode, revision }) => [id, { mode, revision }]));
  }

  /** Versions of an organization that are not withdrawn, in the order of their registration. */
  findActiveVersions(organizationId: string): Promise<ActiveVersion[]> {
    return this.read<ActiveVersion>({
      name: 'schema-find-active-versions',
      text: `SELECT action, version, ${ID} AS id FROM audit_schema
             WHERE organization_id = $1 AND withdrawn_at IS NULL ORDER BY ordinal`,
      values: [organizationId],
    });
  }

  /**
   * Runs `work` while no other change of the organization does, and counts it as one if it says so.
   * @throws what `work` throws; AppError as of every statement.
   */
  async change<T>(
    organizationId: string,
    subject: string,
    work: (client: PoolClient) => Promise<{ isChanged: boolean; result: T }>,
  ): Promise<T> {
    try {
      return await this.database.transaction(async (client) => {
        await client.query({
          name: 'schema-lock',
          text: `INSERT INTO audit_schema_setting (organization_id) VALUES ($1) ON CONFLICT DO NOTHING`,
          values: [organizationId],
        });
        await client.query({
          name: 'schema-lock-row',
          text: `SELECT FROM audit_schema_setting WHERE organization_id = $1 FOR UPDATE`,
          values: [organizationId],
        });
        const { isChanged, result } = await work(client);
        if (isChanged) {
          await client.query({
            name: 'schema-note-change',
            text: `UPDATE audit_schema_setting SET revision = revision + 1, changed_at = clock_timestamp(), changed_by = $2
                   WHERE organization_id = $1`,
            values: [organizationId, subject],
          });
        }
        return result;
      });
    } catch (error) {
      throw error instanceof AppError ? error : toDatabaseError(error);
    }
  }

  private read<Row extends object>(statement: {
    name: string;
    text: string;
    values?: unknown[];
  }): Promise<Row[]> {
    return this.database.withClient(async (client) => (await client.query<Row>(statement)).rows);
  }
}

export function findStatement({ organizationId, action, version }: SchemaKey) {
  return {
    name: 'schema-find',
    text: `SELECT ${VERSION_COLUMNS}, schema::text AS text FROM audit_schema WHERE ${OF_KEY}`,
    values: [organizationId, action, version],
  };
}

/** The newest version of an action that is not withdrawn. */
export function findNewestStatement({ organizationId, action }: SchemaKey) {
  return {
    name: 'schema-find-newest',
    text: `SELECT ${VERSION_COLUMNS}, schema::text AS text FROM audit_schema
           WHERE organization_id = $1 AND action = $2 AND withdrawn_at IS NULL ORDER BY ordinal DESC LIMIT 1`,
    values: [organizationId, action],
  };
}

export function countStatement(organizationId: string) {
  return {
    name: 'schema-count',
    text: `SELECT count(*)::integer AS count FROM audit_schema WHERE organization_id = $1`,
    values: [organizationId],
  };
}

export function insertStatement(
  { organizationId, action, version }: SchemaKey,
  schema: { text: string; compatibility: Compatibility; subject: string },
) {
  return {
    name: 'schema-insert',
    text: `INSERT INTO audit_schema (organization_id, action, version, schema, compatibility, registered_by)
           VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${VERSION_COLUMNS}, schema::text AS text`,
    values: [organizationId, action, version, schema.text, schema.compatibility, schema.subject],
  };
}

export function withdrawStatement({ organizationId, action, version }: SchemaKey, subject: string) {
  return {
    name: 'schema-withdraw',
    text: `UPDATE audit_schema SET withdrawn_at = clock_timestamp(), withdrawn_by = $4
           WHERE ${OF_KEY} RETURNING ${VERSION_COLUMNS}, schema::text AS text`,
    values: [organizationId, action, version, subject],
  };
}

export function setModeStatement(organizationId: string, mode: SchemaMode) {
  return {
    name: 'schema-set-mode',
    text: `UPDATE audit_schema_setting SET mode = $2 WHERE organization_id = $1 AND mode <> $2`,
    values: [organizationId, mode],
  };
}
