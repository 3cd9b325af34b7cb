// Fills a running service with events of three invented organizations over the last 30 days, through its public bulk route,
// and prints what to try with them. The events of a day depend on its date alone, and so do their ids: a further run adds
// what has happened since and stores nothing twice.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const USAGE = `Usage: npm run demo -- [options]

Sends a few thousand invented events of three organizations to a running service. Safe to repeat.

  --url URL     the service (http://localhost:PORT, with the PORT of the environment or 3000)
  --token JWT   may write and read demo-bank, demo-clinic and demo-shop; made as by \`npm run token\` if left out
  --help        this text
`;
const DAYS = 30;
const EVENTS_PER_REQUEST = 500;
/** In the ids of events: another one when their content changes. */
const IDS = 2;
const [HOUR_MS, DAY_MS] = [3_600_000, 86_400_000];

/**
 * Work of an organization: `actions` are [action, type of the target, weight, share that fails, why it fails, metadata].
 */
const ORGANIZATIONS = {
  'demo-bank': {
    people: ['ana.costa', 'ben.okafor', 'chloe.martin', 'service:settlement'],
    place: 'Lisbon, PT',
    network: '192.0.2.',
    sessions: 9,
    isOpenOnSunday: false,
    classification: 'CONFIDENTIAL',
    actions: [
      ['account.read', 'Account', 9, 0.01, 'No such account'],
      ['payment.approve', 'Payment', 4, 0.06, 'Above the limit of the approver', payment],
      ['payment.create', 'Payment', 5, 0.03, 'Insufficient funds', payment],
      ['customer.update', 'Customer', 2, 0, ''],
      ['report.export', 'Report', 1, 0.05, 'Not permitted'],
    ],
  },
  'demo-clinic': {
    people: ['dr.weber', 'dr.ito', 'nurse.silva', 'nurse.khan', 'desk.moreau'],
    place: 'Zürich, CH',
    network: '198.51.100.',
    sessions: 11,
    isOpenOnSunday: true,
    classification: 'PHI',
    actions: [
      ['patient.read', 'Patient', 10, 0.02, 'Not a patient of this ward', ward],
      ['prescription.create', 'Prescription', 4, 0.04, 'Interacts with another drug', ward],
      ['observation.create', 'Observation', 6, 0, '', ward],
      ['patient.update', 'Patient', 2, 0, '', ward],
      ['consent.revoke', 'Consent', 1, 0, ''],
    ],
  },
  'demo-shop': {
    people: ['maya', 'noah', 'service:checkout', 'service:stock'],
    place: 'Austin, US',
    network: '203.0.113.',
    sessions: 8,
    isOpenOnSunday: true,
    classification: 'INTERNAL',
    actions: [
      ['order.create', 'Order', 8, 0.05, 'Payment declined', payment],
      ['order.refund', 'Order', 2, 0.02, 'Already refunded', payment],
      ['product.update', 'Product', 4, 0, ''],
      ['discount.create', 'Discount', 1, 0.1, 'Needs a second approval'],
    ],
  },
};
/** Further members of some actions: all targets, and what was changed. */
const MORE = {
  'payment.approve': (number) => ({
    targets: [
      { type: 'Payment', id: `pay-${number}` },
      { type: 'Account', id: `acc-${number}`, name: `Current account ${number}` },
    ],
  }),
  'product.update': (number) => ({
    changes: [{ path: '/price', old: (number - 0.5) / 10, new: (number + 20) / 10 }],
  }),
  'customer.update': () => ({
    changes: [
      { path: '/address/city', old: 'Porto', new: 'Lisbon' },
      { path: '/phone', old: null },
    ],
  }),
};
const AGENTS = ['Firefox/145.0', 'Chrome/142.0', 'Safari/26.1', 'audit-demo/1.0'];

process.stdout.on('error', () => process.exit()); // `| head` has seen enough
await main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: `http://localhost:${process.env.PORT?.trim() || 3000}` },
      token: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return process.stdout.write(USAGE);
  const url = values.url.replace(/\/+$/, '');
  await requireService(url);
  const token = values.token ?? makeToken();
  // Whole hours, so that a run that is repeated at once finds all of its events.
  const untilMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
  const events = eventsUntil(untilMs);
  let created = 0;
  let duplicates = 0;
  for (let at = 0; at < events.length; at += EVENTS_PER_REQUEST) {
    const result = await send(url, token, events.slice(at, at + EVENTS_PER_REQUEST));
    created += result.created;
    duplicates += result.duplicates;
  }
  console.log(
    `${events.length} events of ${Object.keys(ORGANIZATIONS).length} organizations sent to ${url}: ${created} created, ${duplicates} duplicates.`,
  );
  process.stdout.write(whatNext(url, token, events));
}

async function requireService(url) {
  const response = await fetch(`${url}/health/ready`).catch(() => undefined);
  if (response?.ok) return;
  throw new Error(
    response
      ? `The service at ${url} is not ready (${response.status}): try again in a moment.`
      : `No service answers at ${url}. Start one with \`npm start\` in another terminal, or name one: npm run demo -- --url URL`,
  );
}

function makeToken() {
  const tool = join(import.meta.dirname, '..', 'dist', 'cli', 'token.js');
  const organizations = Object.keys(ORGANIZATIONS).join(',');
  const claims = ['--organizations', organizations, '--sub', 'demo'];
  const scope = ['--scope', 'audit:read audit:write audit:export'];
  return execFileSync(process.execPath, [tool, ...claims, ...scope], { encoding: 'utf8' }).trim();
}

async function send(url, token, events) {
  const response = await fetch(`${url}/api/v1/audit/events/bulk`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ events }),
  });
  if (response.ok) return response.json();
  const { detail = response.statusText } = await response.json().catch(() => ({}));
  const hint =
    response.status === 401
      ? '\nWithout --token JWT it is signed with the secret of this checkout (AUTH_JWT_SECRET or DATA_DIR), which must be that of the service.'
      : '';
  throw new Error(`${url} answered ${response.status}: ${detail}${hint}`);
}

/** All events of the last days in the order in which they happened. */
function eventsUntil(untilMs) {
  const today = Math.floor(untilMs / DAY_MS);
  const events = [];
  for (let day = today - DAYS; day <= today; day += 1) {
    for (const id of Object.keys(ORGANIZATIONS)) events.push(...eventsOf(id, day));
  }
  return events
    .filter(({ timestamp }) => Date.parse(timestamp) < untilMs)
    .sort((a, b) => a.timestamp.localeCompare(b.timestamp));
}

/** The events of one organization on one day since 1970. */
function eventsOf(organizationId, day) {
  const { people, sessions, isOpenOnSunday } = ORGANIZATIONS[organizationId];
  const random = randomOf(`${organizationId} ${day}`);
  const isSunday = new Date(day * DAY_MS).getUTCDay() === 0;
  const count = isSunday && !isOpenOnSunday ? 1 : sessions + Math.floor(random() * 4);
  const events = [];
  for (let number = 0; number < count; number += 1) {
    const startMs = day * DAY_MS + Math.floor((7 + random() * 11) * HOUR_MS);
    const person = people[Math.floor(random() * people.length)];
    events.push(...sessionOf(organizationId, person, startMs, random));
  }
  if (organizationId === 'demo-clinic' && day % 9 === 0) events.push(...guessedPasswords(day));
  return events.map((event, index) => ({ id: uuidOf(organizationId, day, index, IDS), ...event }));
}

/** A person logs in, works for a while and mostly logs out; a service only works. */
function sessionOf(organizationId, principalId, startMs, random) {
  const { place, network, classification, actions } = ORGANIZATIONS[organizationId];
  const sessionContext = {
    sessionId: `s-${Math.floor(random() * 16 ** 8).toString(16)}`,
    ipAddress: `${network}${10 + Math.floor(random() * 40)}`,
    userAgent: AGENTS[Math.floor(random() * AGENTS.length)],
    geolocation: place,
  };
  const isPerson = !principalId.startsWith('service:');
  const principal = isPerson
    ? { principalType: 'user', principalName: nameOf(principalId) }
    : { principalType: 'service' };
  const source = { service: `${organizationId.slice('demo-'.length)}-api`, version: '2.4.0' };
  const correlationId = `req-${sessionContext.sessionId.slice(2)}`;
  let atMs = startMs;
  const event = (action, status, members) => {
    atMs += 1000 + Math.floor(random() * 180_000);
    const timestamp = new Date(atMs).toISOString();
    const whole = { organizationId, timestamp, principalId, ...principal, action, status };
    return { ...whole, sessionContext, source, ...members };
  };
  const events = [];
  if (isPerson && random() < 0.06) {
    events.push(event('user.login', 'failure', { outcomeDescription: 'Wrong password' }));
  }
  if (isPerson) {
    events.push(event('user.login', 'success', { metadata: { method: 'password', mfa: true } }));
  }
  for (let left = 2 + Math.floor(random() * 4); left > 0; left -= 1) {
    const [action, type, , failing, reason, metadata] = weighted(actions, random());
    const hasFailed = random() < failing;
    const number = 1000 + Math.floor(random() * 120);
    const details = {
      targetResourceType: type,
      targetResourceId: `${type.slice(0, 3).toLowerCase()}-${number}`,
      ...MORE[action]?.(number),
      dataClassification: classification,
      correlationId,
      metadata: metadata?.(random),
    };
    const outcome = hasFailed ? { outcomeDescription: reason } : {};
    events.push(event(action, hasFailed ? 'failure' : 'success', { ...details, ...outcome }));
  }
  if (isPerson && random() < 0.8) events.push(event('user.logout', 'success'));
  return events;
}

/** `Ana Costa` of `ana.costa`. */
function nameOf(principalId) {
  return principalId.replace(
    /(^|\.)(\w)/g,
    (_, dot, letter) => `${dot && ' '}${letter.toUpperCase()}`,
  );
}

/** Somebody tries the passwords of one account at night, until it is locked. */
function guessedPasswords(day) {
  const startMs = day * DAY_MS + 2.5 * HOUR_MS;
  const members = {
    organizationId: 'demo-clinic',
    principalId: 'dr.weber',
    sessionContext: { ipAddress: '192.0.2.66', userAgent: 'python-requests/2.32' },
    correlationId: `night-${day}`,
  };
  const attempts = Array.from({ length: 12 }, (_, index) => ({
    ...members,
    timestamp: new Date(startMs + index * 2000).toISOString(),
    action: 'user.login',
    status: 'failure',
    outcomeDescription: 'Wrong password',
  }));
  const timestamp = new Date(startMs + attempts.length * 2000).toISOString();
  return [...attempts, { ...members, timestamp, action: 'user.lock', status: 'success' }];
}

function payment(random) {
  return { amount: Math.round(random() * 500_000) / 100, currency: 'EUR' };
}

function ward(random) {
  return { ward: `${'ABC'[Math.floor(random() * 3)]}${1 + Math.floor(random() * 4)}` };
}

function weighted(actions, chance) {
  let left = chance * actions.reduce((sum, [, , weight]) => sum + weight, 0);
  return actions.find(([, , weight]) => (left -= weight) < 0);
}

/** Numbers from 0 to 1, always the same ones for a seed (mulberry32). */
function randomOf(seed) {
  let state = createHash('sha256').update(seed).digest().readUInt32LE();
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A UUID of version 8 (RFC 9562). */
function uuidOf(...parts) {
  const bytes = createHash('sha256')
    .update(`demo ${parts.join(' ')}`)
    .digest()
    .subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function whatNext(url, token, events) {
  const api = `${url}/api/v1/audit/events`;
  const bearer = '-H "Authorization: Bearer $TOKEN"';
  const patient = events.findLast(({ targetResourceType }) => targetResourceType === 'Patient');
  const examples = {
    'Failed logins at the clinic, newest first: somebody guesses passwords at night': `curl -s '${api}?organization_ids=demo-clinic&actions=user.login&statuses=failure&limit=20' ${bearer}`,
    'Who has seen or changed one patient': `curl -s '${api}?organization_ids=demo-clinic&resource_types=Patient&resource_ids=${patient?.targetResourceId}' ${bearer}`,
    'All that belongs to one session': `curl -s '${api}?correlation_ids=${patient?.correlationId}&sort_direction=asc' ${bearer}`,
    'An export of the bank for a spreadsheet': `curl -fsS '${api}/stream?format=csv&organization_ids=demo-bank' ${bearer} -o demo-bank.csv`,
    'Events of the shop as they are recorded (Ctrl-C ends it)': `curl -N '${api}/tail?organization_ids=demo-shop' ${bearer}`,
  };
  const lines = Object.entries(examples).map(([what, command]) => `# ${what}\n${command}\n`);
  return `\nTry next (the token lasts 12 hours):\n\nTOKEN='${token}'\n\n${lines.join('\n')}\nAll routes: ${url}/docs\n`;
}
