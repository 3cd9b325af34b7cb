-- Three roles for the service, and their privileges. Run it as a superuser (managed services: their administrator), connected to
-- the database of the service, before or after its first migration. Running it again changes nothing.
--
--   psql -d audit -f roles.sql
--   psql -d audit -v owner=audit -v maintenance=audit_upkeep -v server=audit_api -v schema=public -f roles.sql
--
-- An existing installation names the role that it has as owner, as this role owns the tables already.
--
--   owner        owns the tables, and migrates:                  npm run migrate
--   maintenance  member of the owner: partitions, retention,     one replica without clients
--                VACUUM, ANALYZE, REINDEX, expired rows
--   server       serves requests: SELECT and INSERT, UPDATE of   all other replicas
--                head rows, client ids and schemas; no UPDATE, DELETE,
--                TRUNCATE or DROP of events
--
-- Passwords are not set here: \password audit_owner, and so on. docs/operations.md, "Three roles", has the rest.

\set ON_ERROR_STOP on
\if :{?owner} \else \set owner audit_owner \endif
\if :{?maintenance} \else \set maintenance audit_maintenance \endif
\if :{?server} \else \set server audit_server \endif
\if :{?schema} \else \set schema public \endif

SELECT :SERVER_VERSION_NUM >= 160000 AS "hasGrantOptions" \gset

BEGIN;

-- Roles. Attributes of existing ones are left as they are.
SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name)
FROM unnest(ARRAY[:'owner', :'maintenance', :'server']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- PostgreSQL has no privilege for DETACH and DROP of a partition but to be, or be a member of, the owner. MAINTAIN (PostgreSQL 17)
-- and pg_maintain are for VACUUM, ANALYZE and REINDEX only.
\if :hasGrantOptions
  -- Without SET, the role cannot become the owner: what it creates would be seen as its own.
  GRANT :"owner" TO :"maintenance" WITH INHERIT TRUE, SET FALSE, ADMIN FALSE;
\else
  GRANT :"owner" TO :"maintenance";
\endif

-- Database and schema.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I, %I, %I', current_database(), :'owner', :'maintenance', :'server') \gexec
SELECT format('CREATE SCHEMA %I AUTHORIZATION %I', :'schema', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = :'schema') \gexec
-- PostgreSQL 14 and databases from it let every role create tables in "public".
SELECT format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', :'schema') \gexec
GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"owner";
GRANT USAGE ON SCHEMA :"schema" TO :"maintenance", :"server";
SELECT format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', name, current_database(), :'schema')
FROM unnest(ARRAY[:'owner', :'maintenance', :'server']) AS name
WHERE :'schema' <> 'public' \gexec

-- Tables to come: partitions, and those of migrations, which grant what is beyond SELECT and INSERT to the roles that they find in
-- these default privileges (src/platform/database/migrations/server-privileges.ts).
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"schema" GRANT SELECT, INSERT ON TABLES TO :"server";

-- Tables and functions that exist already.
SELECT format('GRANT %s ON %I.%I TO %I', privileges, :'schema', name, :'server')
FROM (VALUES
  ('audit_event', 'SELECT, INSERT'),
  ('audit_organization', 'SELECT, INSERT, UPDATE'),
  ('audit_client_event_id', 'SELECT, INSERT, UPDATE'),
  ('idempotency_record', 'SELECT, INSERT'),
  ('idempotency_key', 'SELECT, INSERT'), -- of earlier versions
  ('access_ticket', 'SELECT, INSERT, DELETE'),
  ('audit_schema', 'SELECT, INSERT, UPDATE'),
  ('audit_schema_setting', 'SELECT, INSERT, UPDATE'),
  ('service_secret', 'SELECT'),
  ('migrations', 'SELECT')
) AS t (name, privileges)
WHERE to_regclass(format('%I.%I', :'schema', name)) IS NOT NULL \gexec
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, :'server')
FROM pg_proc p
WHERE p.pronamespace = to_regnamespace(quote_ident(:'schema'))
  AND p.proname IN ('audit_event_make_partition', 'audit_event_finish_detaching', 'audit_event_target_hashes', 'audit_event_by_index',
    'audit_fold', 'audit_normal_number', 'audit_address', 'audit_json_has_text', 'audit_json_has_path', 'audit_json_has_value') \gexec

COMMIT;

-- Tables of another owner can be neither migrated nor maintained by these roles. The statements that help are printed, not run.
SELECT string_agg(format('ALTER TABLE %I.%I OWNER TO %I;', n.nspname, c.relname, :'owner'), E'\n' ORDER BY c.relname) AS "othersOwn"
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :'schema' AND c.relkind IN ('r', 'p') AND c.relowner <> to_regrole(quote_ident(:'owner'))
  AND (c.relname IN ('audit_event', 'audit_organization', 'audit_client_event_id', 'idempotency_record', 'idempotency_key', 'access_ticket', 'audit_schema', 'audit_schema_setting', 'service_secret', 'migrations')
    OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(format('%I.audit_event', :'schema')))) \gset
\if :{?othersOwn}
  \echo 'Tables of another owner, which these roles can neither migrate nor maintain:'
  \echo :othersOwn
\endif
