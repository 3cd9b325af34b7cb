/** Requests and responses for the OpenAPI description. */

const RECORDED = {
  id: '019ab1c2-3e4a-7000-8000-1234567890ab',
  timestamp: '2026-11-23T10:30:00.123456Z',
  recordedAt: '2026-11-23T10:30:00.234567Z',
  sequence: '1042',
};

export const MINIMAL_EVENT = {
  organizationId: 'org-1',
  action: 'user.login',
  status: 'success',
};

export const FULL_EVENT = {
  id: '0198c1f2-3e4a-7000-8000-1234567890ab',
  timestamp: '2026-11-23T11:30:00.123456+01:00',
  organizationId: 'org-1',
  principalId: 'user-1',
  action: 'fhirPatientRead',
  targetResourceType: 'Patient',
  targetResourceId: 'pat-1',
  status: 'success',
  outcomeDescription: 'Opened the chart',
  dataClassification: 'PHI',
  correlationId: 'req-7f3a',
  sessionContext: {
    sessionId: 's-81f3',
    ipAddress: '198.51.100.7',
    userAgent: 'curl/8.5.0',
    geolocation: 'Zürich, CH',
  },
  metadata: { ward: 'B2', durationMs: 12.5 },
};

export const MINIMAL_RECORDED = {
  ...RECORDED,
  organizationId: 'org-1',
  principalId: null,
  action: 'user.login',
  targetResourceType: null,
  targetResourceId: null,
  status: 'success',
  outcomeDescription: null,
  dataClassification: 'INTERNAL',
  correlationId: null,
  sessionContext: null,
  metadata: null,
};

export const FULL_RECORDED = {
  ...RECORDED,
  ...FULL_EVENT,
  timestamp: '2026-11-23T10:30:00.123456Z',
};

export const BULK_REQUEST = { events: [MINIMAL_EVENT, FULL_EVENT], batchSize: 1000 };

/** Response to BULK_REQUEST when its second event exists. */
export const BULK_ANSWER = {
  created: 1,
  duplicates: 1,
  batches: 1,
  results: [
    { index: 0, id: RECORDED.id, sequence: '1043', status: 'created' },
    { index: 1, id: FULL_EVENT.id, sequence: '1042', status: 'duplicate' },
  ],
  performance: { totalTime: 1.874, averageTimePerEvent: 0.937, concurrencyUtilization: 33.333 },
};

const CURSOR = 'yS3vZ0m8Jq1uQ2dN5pX7aVtyYWxzZSx7InRpbWVzdGFtcCI6IjIwMjYtMTEtMjNUMTA';

export const PAGES = {
  first: {
    summary: 'The first page, with a total',
    value: {
      data: [FULL_RECORDED],
      pagination: {
        limit: 1,
        offset: 0,
        total: 128,
        totalIsExact: true,
        hasNext: true,
        hasPrevious: false,
        nextCursor: CURSOR,
      },
    },
  },
  byCursor: {
    summary: 'A page by cursor',
    value: {
      data: [MINIMAL_RECORDED],
      pagination: {
        limit: 1,
        hasNext: true,
        hasPrevious: true,
        nextCursor: CURSOR,
        previousCursor: CURSOR,
      },
    },
  },
};
