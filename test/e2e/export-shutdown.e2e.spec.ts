import { once } from 'node:events';
import { Client } from 'pg';
import { openExport, readAnswer } from '../support/export-client';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

it('an export that runs at SIGTERM is finished, a stalled one is disconnected', async () => {
  const service = await TestService.start({ STREAMING_SELF_AUDIT: 'true' });
  const token = await tokenOf({ scope: 'audit:export audit:read audit:write' });
  await service.post(EVENTS, token, eventWith());
  const admin = new Client({ connectionString: service.databaseUrl });
  await admin.connect();
  await admin.query(
    `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification, metadata)
     SELECT 'org-1', now(), gen_random_uuid(), i + 1, now(), 'a', 'success', 'INTERNAL',
       json_build_object('note', repeat('x', 4000)) FROM generate_series(1, 8000) i`,
  );
  await admin.end();
  const reading = await openExport(service, token, 'format=ndjson');
  const stalled = await openExport(service, token, 'format=ndjson');
  await once(reading.response, 'readable');
  stalled.response.pause();
  const stopped = service.stop();
  const whole = await readAnswer(reading.response);
  expect(whole).toMatchObject({ isWhole: true, trailers: { 'x-export-rows': '8001' } });
  await stopped;
  expect((await readAnswer(stalled.response)).isWhole).toBe(false);
});
