import { EVENT_JSON, FULL_WRITES, PLAIN_WRITES } from './audit.statements';

const onOneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();

describe('the statement that records plain events', () => {
  it('is this one, put together of the columns of an event', () => {
    expect(onOneLine(PLAIN_WRITES.recordEvents.text)).toBe(
      onOneLine(`
        WITH head AS (
          INSERT INTO audit_organization AS o (organization_id, last_sequence, recorded_at)
          SELECT id, n, clock_timestamp()
          FROM set_config('lock_timeout', '2000', true), unnest($16::text[], $17::bigint[]) AS t (id, n)
          ON CONFLICT (organization_id) DO UPDATE SET
            last_sequence = o.last_sequence + excluded.last_sequence, recorded_at = clock_timestamp()
          RETURNING organization_id, last_sequence, recorded_at
        ), event AS (
          INSERT INTO audit_event (organization_id, timestamp, id, principal_id, action, target_resource_type,
            target_resource_id, status, outcome_description, data_classification, correlation_id, session_context,
            metadata, timestamp_submicros, sequence, recorded_at)
          SELECT t.organization_id, t.timestamp, t.id, t.principal_id, t.action, t.target_resource_type,
            t.target_resource_id, t.status, t.outcome_description, t.data_classification, t.correlation_id,
            t.session_context::json, t.metadata::json, t.timestamp_submicros, head.last_sequence - t.later, head.recorded_at
          FROM unnest($1::text[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::text[], $11::text[], string_to_array($12, E'\\x01', ''),
            string_to_array($13, E'\\x01', ''), $14::text[], $15::bigint[]) AS t (organization_id, timestamp, id, principal_id,
            action, target_resource_type, target_resource_id, status, outcome_description, data_classification,
            correlation_id, session_context, metadata, timestamp_submicros, later)
          JOIN head ON head.organization_id = t.organization_id COLLATE "C"
        )
        SELECT organization_id, last_sequence::text, recorded_at::text FROM head`),
    );
  });
});

describe('the statements that record events with sparse members', () => {
  it('name their columns behind those of a plain event', () => {
    const sparse = 'principal_type, principal_name, targets, changes, source, schema_version';
    for (const { text } of [
      FULL_WRITES.recordEvent,
      FULL_WRITES.recordEvents,
      FULL_WRITES.insertEvents,
    ]) {
      expect(onOneLine(text)).toContain(
        `metadata, timestamp_submicros, ${sparse}, sequence, recorded_at)`,
      );
    }
    for (const { text } of [
      PLAIN_WRITES.recordEvent,
      PLAIN_WRITES.recordEvents,
      PLAIN_WRITES.insertEvents,
    ]) {
      expect(text).not.toMatch(/principal_type|targets|schema_version/);
    }
  });
});

describe('an event as JSON text', () => {
  it('is this expression, made of the fields of an event', () => {
    expect(EVENT_JSON).toBe(`
  '{"id":"' || e.id
  || '","timestamp":"' || to_char(e.timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US') || coalesce(e.timestamp_submicros, '')
  || 'Z","recordedAt":"' || to_char(e.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  || '","sequence":"' || e.sequence
  || '","organizationId":' || to_json(e.organization_id)
  || ',"principalId":' || coalesce(to_json(e.principal_id)::text, 'null')
  || ',"action":' || to_json(e.action)
  || ',"targetResourceType":' || coalesce(to_json(e.target_resource_type)::text, 'null')
  || ',"targetResourceId":' || coalesce(to_json(e.target_resource_id)::text, 'null')
  || ',"status":"' || e.status
  || '","outcomeDescription":' || coalesce(to_json(e.outcome_description)::text, 'null')
  || ',"dataClassification":"' || e.data_classification
  || '","correlationId":' || coalesce(to_json(e.correlation_id)::text, 'null')
  || ',"sessionContext":' || coalesce(e.session_context::text, 'null')
  || ',"metadata":' || coalesce(e.metadata::text, 'null')
  || CASE WHEN (e.principal_type, e.principal_name, e.targets, e.changes, e.source, e.schema_version) IS NULL THEN '}' ELSE coalesce(',"principalType":' || to_json(e.principal_type)::text, '')
    || coalesce(',"principalName":' || to_json(e.principal_name)::text, '')
    || coalesce(',"targets":' || e.targets::text, '')
    || coalesce(',"changes":' || e.changes::text, '')
    || coalesce(',"source":' || e.source::text, '')
    || coalesce(',"schemaVersion":' || to_json(e.schema_version)::text, '') || '}' END`);
  });
});
