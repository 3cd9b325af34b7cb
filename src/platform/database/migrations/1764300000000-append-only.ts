import type { MigrationInterface, QueryRunner } from 'typeorm';
import { grantToServers } from './server-privileges';
import { withShortLock } from './short-lock';

const REFUSAL = 'audit_event_refuse_change()';
const MAKE = 'audit_event_make_partition(timestamptz, integer)';
/** Bounds what a role can create: PARTITION_PRECREATE is at most 120, and clocks differ. */
const MOST_MONTHS_AHEAD = 121;
/** PARTITION_LOCK of src/platform/database/partitions.ts as it was then ("part" in ASCII). */
const PARTITION_LOCK = 0x70617274;
const FINISH = 'audit_event_finish_detaching(oid)';

/**
 * Makes events append-only in PostgreSQL, and lets a role that does not own the tables create partitions
 * (docs/adr/0046-three-roles.md). No row is read or written, and statements of older replicas keep working: they make
 * partitions as the owner.
 */
export class AppendOnly1764300000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const schema = await quotedSchema(runner);
    await createRefusal(runner);
    await createPartitionFunctions(runner, schema);
    await withShortLock(
      runner,
      `CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE ON audit_event
       FOR EACH ROW EXECUTE FUNCTION ${REFUSAL}`,
    );
    // Of the parent, too, this trigger is for a statement that names it: partitions need their own.
    for (const table of ['audit_event', ...(await partitionsOf(runner))]) {
      await withShortLock(
        runner,
        `CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON ${table}
         FOR EACH STATEMENT EXECUTE FUNCTION ${REFUSAL}`,
      );
    }
    await ownAndGrant(runner);
  }

  async down(runner: QueryRunner): Promise<void> {
    await withShortLock(runner, 'DROP TRIGGER audit_event_append_only ON audit_event');
    for (const table of ['audit_event', ...(await partitionsOf(runner))]) {
      await withShortLock(runner, `DROP TRIGGER IF EXISTS audit_event_no_truncate ON ${table}`);
    }
    await runner.query(`DROP FUNCTION ${MAKE}`);
    await runner.query(`DROP FUNCTION ${FINISH}`);
    await runner.query(
      'DROP FUNCTION audit_event_partition_range(timestamptz, timestamptz, integer)',
    );
    await runner.query(`DROP FUNCTION ${REFUSAL}`);
  }
}

/** The schema of the tables, as an identifier. */
async function quotedSchema(runner: QueryRunner): Promise<string> {
  const rows = (await runner.query('SELECT quote_ident(current_schema()) AS schema')) as {
    schema: string;
  }[];
  return rows[0]?.schema ?? 'public';
}

async function partitionsOf(runner: QueryRunner): Promise<string[]> {
  const rows = (await runner.query(
    `SELECT inhrelid::regclass::text AS name FROM pg_inherits
     WHERE inhparent = 'audit_event'::regclass AND NOT inhdetachpending`,
  )) as { name: string }[];
  return rows.map(({ name }) => name);
}

/**
 * The setting alone opens nothing: the role must own the table, be a member of its owner, or run a function of it.
 */
async function createRefusal(runner: QueryRunner): Promise<void> {
  await runner.query(`
    CREATE FUNCTION ${REFUSAL} RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $body$
    BEGIN
      IF current_setting('audit_server.change_events', true) = 'on'
         AND pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        IF TG_LEVEL = 'STATEMENT' THEN RETURN NULL; END IF;
        IF TG_OP = 'UPDATE' THEN RETURN NEW; END IF;
        RETURN OLD;
      END IF;
      RAISE EXCEPTION '% of events is refused: % is append-only', TG_OP, TG_TABLE_NAME USING
        ERRCODE = 'insufficient_privilege',
        HINT = 'Events leave with their partition, by RETENTION_DAYS. docs/operations.md, "Three roles", says how the owner erases one.';
    END
    $body$`);
}

async function createPartitionFunctions(runner: QueryRunner, schema: string): Promise<void> {
  await runner.query(`
    -- The rule of src/platform/database/partition-ranges.ts, as a role that only writes events must not choose ranges.
    CREATE FUNCTION audit_event_partition_range(
      instant timestamptz, today timestamptz, retention_days integer, OUT lower timestamptz, OUT upper timestamptz
    ) LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $body$
    DECLARE
      moment timestamp := instant AT TIME ZONE 'UTC';
      now_utc timestamp := today AT TIME ZONE 'UTC';
      earliest timestamp := '0001-01-01';
      kept_from timestamp := earliest;
      its_year integer;
      first_monthly integer := extract(year FROM now_utc) - 2;
      first_yearly integer := (first_monthly - 5) / 10 * 10;
      first_decade integer := first_yearly - 50;
      from_utc timestamp;
      to_utc timestamp;
    BEGIN
      IF moment < earliest OR moment >= timestamp '10000-01-01' THEN
        RAISE EXCEPTION 'instant must be in the years 1 to 9999' USING ERRCODE = 'invalid_parameter_value';
      END IF;
      IF retention_days NOT BETWEEN 0 AND 36500 THEN
        RAISE EXCEPTION 'retention_days must be 0 to 36500' USING ERRCODE = 'invalid_parameter_value';
      END IF;
      its_year := extract(year FROM moment);
      IF retention_days > 0 THEN
        kept_from := date_trunc('month', now_utc - retention_days * interval '1 day');
      END IF;
      IF moment < kept_from THEN
        from_utc := earliest;
        to_utc := kept_from;
      ELSIF its_year >= first_monthly THEN
        from_utc := date_trunc('month', moment);
        to_utc := from_utc + interval '1 month';
      ELSIF its_year >= first_yearly OR retention_days > 0 THEN
        from_utc := greatest(date_trunc('year', moment), kept_from);
        to_utc := date_trunc('year', moment) + interval '1 year';
      ELSIF its_year < first_decade THEN
        from_utc := earliest;
        to_utc := make_date(first_decade, 1, 1);
      ELSE
        from_utc := make_date(its_year / 10 * 10, 1, 1);
        to_utc := from_utc + interval '10 years';
      END IF;
      lower := from_utc AT TIME ZONE 'UTC';
      upper := to_utc AT TIME ZONE 'UTC';
    END
    $body$`);
  await runner.query(`
    -- Creates the partition for an instant that has none, owned by the owner of the events. Callers choose neither name
    -- nor range. The partition is made apart and attached, as in src/platform/database/partitions.ts.
    CREATE FUNCTION ${MAKE.replace('timestamptz, integer', 'instant timestamptz, retention_days integer')}
    RETURNS void LANGUAGE plpgsql STRICT SECURITY DEFINER
    SET search_path = ${schema}, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' AS $body$
    DECLARE
      lower timestamptz;
      upper timestamptz;
      before_it timestamptz;
      after_it timestamptz;
      is_covered boolean;
      name text;
    BEGIN
      IF instant >= date_trunc('month', clock_timestamp()) + interval '${MOST_MONTHS_AHEAD + 1} months' THEN
        RAISE EXCEPTION 'instant must be at most ${MOST_MONTHS_AHEAD} months ahead' USING ERRCODE = 'invalid_parameter_value';
      END IF;
      PERFORM pg_advisory_xact_lock(${PARTITION_LOCK});
      SELECT r.lower, r.upper INTO lower, upper
      FROM audit_event_partition_range(instant, clock_timestamp(), retention_days) r;
      WITH partition AS (
        SELECT coalesce((regexp_match(bound, $$FROM \\('([^']+)'\\)$$))[1], '-infinity')::timestamptz AS lower,
               coalesce((regexp_match(bound, $$TO \\('([^']+)'\\)$$))[1], 'infinity')::timestamptz AS upper
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) b
        WHERE i.inhparent = 'audit_event'::regclass
      )
      SELECT max(p.upper) FILTER (WHERE p.upper <= instant), min(p.lower) FILTER (WHERE p.lower > instant),
             coalesce(bool_or(p.lower <= instant AND p.upper > instant), false)
      INTO before_it, after_it, is_covered FROM partition p;
      IF is_covered THEN RETURN; END IF;
      lower := greatest(lower, before_it);
      upper := least(upper, after_it);
      name := 'audit_event_' || to_char(lower, 'YYYYMM');
      IF to_char(upper - interval '1 millisecond', 'YYYYMM') <> to_char(lower, 'YYYYMM') THEN
        name := name || '_' || to_char(upper - interval '1 millisecond', 'YYYYMM');
      END IF;
      IF to_regclass(name) IS NOT NULL THEN
        name := name || '_' || left(replace(gen_random_uuid()::text, '-', ''), 8);
      END IF;
      EXECUTE format('CREATE TABLE %I (LIKE audit_event INCLUDING ALL)', name);
      EXECUTE format('CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION ${REFUSAL}', name);
      EXECUTE format('ALTER TABLE audit_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, lower, upper);
    END
    $body$`);
  await runner.query(`
    -- Finishes a detachment that the owner began and that was interrupted: its rows are hidden already.
    CREATE FUNCTION ${FINISH.replace('oid', 'partition oid')} RETURNS void LANGUAGE plpgsql STRICT SECURITY DEFINER
    SET search_path = ${schema}, pg_temp AS $body$
    BEGIN
      IF EXISTS (SELECT FROM pg_inherits
                 WHERE inhrelid = partition AND inhparent = 'audit_event'::regclass AND inhdetachpending) THEN
        EXECUTE format('ALTER TABLE audit_event DETACH PARTITION %s FINALIZE', partition::regclass);
      END IF;
    END
    $body$`);
}

/** A superuser may migrate: the functions act as the owner of the events all the same. */
async function ownAndGrant(runner: QueryRunner): Promise<void> {
  const rows = (await runner.query(
    `SELECT relowner::regrole::text AS owner FROM pg_class WHERE oid = 'audit_event'::regclass`,
  )) as { owner: string }[];
  for (const name of [MAKE, FINISH]) {
    await runner.query(`ALTER FUNCTION ${name} OWNER TO ${rows[0]?.owner}`);
    await runner.query(`REVOKE EXECUTE ON FUNCTION ${name} FROM PUBLIC`);
  }
  await runner.query(`ALTER FUNCTION ${REFUSAL} OWNER TO ${rows[0]?.owner}`);
  await grantToServers(runner);
}
