import type { MigrationInterface, QueryRunner } from 'typeorm';
import { grantToServers } from './server-privileges';

/** Of IPv4, without leading zeros. */
const IPV4 = String.raw`(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`;

/**
 * Functions of filters on JSON members, addresses and texts; src/audit/event/event-test.ts decides the same in memory. They are
 * immutable, so that indexes may use them, and call each other by schema: an index is built and restored without a search path.
 * Fewer conversions than with jsonb, and none that fails: a number keeps its text, of any size.
 */
export class SearchFunctions1765100000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // A superuser may migrate: the functions belong to the owner of the events.
    const [{ schema, owner, has_icu: hasIcu }] = (await runner.query(
      `SELECT quote_ident(current_schema()) AS schema, relowner::regrole::text AS owner,
              EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') AS has_icu
       FROM pg_class WHERE oid = 'audit_event'::regclass`,
    )) as [{ schema: string; owner: string; has_icu: boolean }];
    // Without ICU in this build of PostgreSQL, the case of characters beyond ASCII is that of the database's locale.
    const lower = hasIcu ? 'lower($1 COLLATE pg_catalog."und-x-icu")' : 'lower($1)';
    const create = async (signature: string, returns: string, body: string, language: string) => {
      const name = `${schema}.${signature}`;
      await runner.query(
        `CREATE FUNCTION ${name} RETURNS ${returns} LANGUAGE ${language} IMMUTABLE PARALLEL SAFE AS $body$ ${body} $body$`,
      );
      await runner.query(`ALTER FUNCTION ${name} OWNER TO ${owner}`);
    };
    await create(
      'audit_fold(text)',
      'text',
      `SELECT replace(${lower}, 'ς', 'σ') COLLATE pg_catalog."C"`,
      'sql',
    );
    await create(
      'audit_normal_number(number text)',
      'text',
      // As normalNumber in src/audit/event/event-content.ts.
      String.raw`
      DECLARE
        parts text[] := regexp_match(number, '^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$');
        fraction text := coalesce(parts[3], '');
        exponent text := coalesce(parts[4], '0');
        digits text := ltrim(parts[2] || fraction, '0');
        significant text := rtrim(digits, '0');
        shift int := length(digits) - length(significant) - length(fraction);
        power numeric;
      BEGIN
        IF digits = '' THEN RETURN '0'; END IF;
        IF length(exponent) > 100 THEN RETURN parts[1] || significant || 'e' || exponent || '/' || shift; END IF;
        power := exponent::numeric + shift;
        IF power >= 0 AND power + length(significant) <= 15 THEN
          RETURN parts[1] || significant || repeat('0', power::int);
        END IF;
        RETURN parts[1] || significant || 'e' || power;
      END`,
      'plpgsql',
    );
    await create(
      'audit_address(address text)',
      'inet',
      String.raw`
      DECLARE
        found inet;
      BEGIN
        IF address ~ '^${IPV4}$' THEN RETURN address::inet; END IF;
        IF address IS NULL OR address !~ '^[0-9a-fA-F:.]{2,45}$' OR strpos(address, ':') = 0 THEN RETURN NULL; END IF;
        found := address::inet;
        -- IPv4 within IPv6.
        IF host(found) ~ '^::ffff:${IPV4}$' THEN RETURN substr(host(found), 8)::inet; END IF;
        RETURN found;
      EXCEPTION WHEN invalid_text_representation THEN RETURN NULL;
      END`,
      'plpgsql',
    );
    await create(
      'audit_json_has_text(value json, term text)',
      'boolean',
      `BEGIN
        CASE json_typeof(value)
          WHEN 'object' THEN
            RETURN EXISTS (SELECT FROM json_each(value) AS m WHERE ${schema}.audit_json_has_text(m.value, term));
          WHEN 'array' THEN
            RETURN EXISTS (SELECT FROM json_array_elements(value) AS m WHERE ${schema}.audit_json_has_text(m.value, term));
          WHEN 'string' THEN RETURN strpos(${schema}.audit_fold(value #>> '{}'), term) > 0;
          WHEN 'number' THEN RETURN strpos(lower(value::text), term) > 0;
          ELSE RETURN false;
        END CASE;
      END`,
      'plpgsql',
    );
    await create(
      'audit_json_has_path(value json, path text[])',
      'boolean',
      `BEGIN
        IF cardinality(path) = 0 THEN RETURN value IS NOT NULL; END IF;
        CASE json_typeof(value)
          WHEN 'object' THEN RETURN ${schema}.audit_json_has_path(value -> path[1], path[2:]);
          WHEN 'array' THEN
            RETURN EXISTS (SELECT FROM json_array_elements(value) AS m WHERE ${schema}.audit_json_has_path(m.value, path));
          ELSE RETURN false;
        END CASE;
      END`,
      'plpgsql',
    );
    await create(
      'audit_json_has_value(value json, path text[], texts text[], prefixes text[], numbers text[], words text[])',
      'boolean',
      `BEGIN
        CASE json_typeof(value)
          WHEN 'array' THEN
            RETURN EXISTS (
              SELECT FROM json_array_elements(value) AS m
              WHERE ${schema}.audit_json_has_value(m.value, path, texts, prefixes, numbers, words));
          WHEN 'object' THEN
            RETURN cardinality(path) > 0
              AND ${schema}.audit_json_has_value(value -> path[1], path[2:], texts, prefixes, numbers, words);
          WHEN 'string' THEN
            RETURN cardinality(path) = 0
              AND ((value #>> '{}') = ANY (texts) OR (value #>> '{}') ^@ ANY (prefixes));
          WHEN 'number' THEN
            RETURN cardinality(path) = 0 AND cardinality(numbers) > 0
              AND ${schema}.audit_normal_number(value::text) = ANY (numbers);
          WHEN 'boolean' THEN RETURN cardinality(path) = 0 AND value::text = ANY (words);
          WHEN 'null' THEN RETURN cardinality(path) = 0 AND 'null' = ANY (words);
          ELSE RETURN false;
        END CASE;
      END`,
      'plpgsql',
    );
    await grantToServers(runner);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      `DROP FUNCTION audit_json_has_value(json, text[], text[], text[], text[], text[]), audit_json_has_path(json, text[]),
         audit_json_has_text(json, text), audit_address(text), audit_normal_number(text), audit_fold(text)`,
    );
  }
}
