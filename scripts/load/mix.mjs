// The mix of operations, from a profile file or a recorded access log. Pure.
import { Histogram } from './histogram.mjs';
import { OPERATIONS } from './operations.mjs';

/** A file that does not say a mix; the message is for its author. */
export class MixError extends Error {}

const KINDS = {
  limit: { holds: (value) => isIntegerTo(value, 1000), allowed: 'an integer from 1 to 1000' },
  events: { holds: (value) => isIntegerTo(value, 10_000), allowed: 'an integer from 1 to 10000' },
  format: {
    holds: (value) => ['json', 'ndjson', 'csv'].includes(value),
    allowed: 'json, ndjson or csv',
  },
  query: {
    holds: (value) =>
      isRecord(value) && Object.values(value).every((one) => typeof one === 'string'),
    allowed: 'an object of query parameters, each a text',
  },
};

/**
 * A profile: `{ "operations": [{ "operation": "list", "weight": 50, "limit": 20 }, …] }`. Returns a mix: entries
 * `{ name, operation, weight, options }`. @throws MixError
 */
export function readProfile(text) {
  let profile;
  try {
    profile = JSON.parse(text);
  } catch (error) {
    throw new MixError(`is not JSON: ${error.message}`);
  }
  const list = profile?.operations;
  if (!Array.isArray(list) || list.length === 0) {
    throw new MixError('operations must be an array of at least one operation');
  }
  return { entries: list.map(entryOf) };
}

function entryOf(given, index) {
  const place = `operations[${index}]`;
  if (!isRecord(given)) throw new MixError(`${place} must be an object`);
  const { operation, weight, ...options } = given;
  if (!Object.hasOwn(OPERATIONS, operation)) {
    const names = Object.keys(OPERATIONS).join(', ');
    throw new MixError(`${place}.operation must be one of ${names}`);
  }
  if (typeof weight !== 'number' || !(weight > 0)) {
    throw new MixError(`${place}.weight must be a number above 0`);
  }
  const known = OPERATIONS[operation].options;
  for (const [name, value] of Object.entries(options)) {
    const kind = KINDS[known[name]];
    if (kind === undefined) {
      const names = ['operation', 'weight', ...Object.keys(known)].join(', ');
      throw new MixError(`${place}.${name} is unknown; ${operation} has ${names}`);
    }
    if (!kind.holds(value)) throw new MixError(`${place}.${name} must be ${kind.allowed}`);
  }
  return { name: nameOf(operation, options), operation, weight, options };
}

const COMBINED =
  /^\S+ \S+ .*?\[(?<time>[^\]]+)\] "(?<method>[A-Z]+) (?<target>\S+) HTTP\/[\d.]+" (?<status>\d{3}) /;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const ROUTE = /^\/api\/v1(?:\/performance)?\/audit\/events(?<rest>\/[^?]*)?$/;
/** Parameters of a list that a log of other organizations and cursors cannot give. */
const FOREIGN = ['cursor', 'offset', 'organization_ids', 'limit', 'ticket'];

/** The mix of an access log: lines of this service (JSON; other lines of its log are skipped) or of nginx (combined). */
export class Recording {
  #entries = new Map();
  #leftOut = new Map();
  #count = 0;
  #firstMs = Infinity;
  #lastMs = -Infinity;

  /** Adds a line. */
  add(line) {
    const request = requestOf(line);
    if (request === undefined) return;
    const found = operationOf(request);
    if (typeof found === 'string') {
      this.#leftOut.set(found, (this.#leftOut.get(found) ?? 0) + 1);
      return;
    }
    const name = nameOf(found.operation, found.options);
    const entry = this.#entries.get(name) ?? {
      name,
      ...found,
      weight: 0,
      recorded: new Histogram(),
    };
    this.#entries.set(name, entry);
    entry.weight += 1;
    if (typeof request.ms === 'number') entry.recorded.add(request.ms);
    this.#count += 1;
    if (Number.isNaN(request.atMs)) return;
    this.#firstMs = Math.min(this.#firstMs, request.atMs);
    this.#lastMs = Math.max(this.#lastMs, request.atMs);
  }

  /**
   * `{ entries, perSecond, leftOut }`: entries with the count of their lines as weight and, if the log has times, `recorded`
   * (Histogram); the rate of the recording, undefined if it spans no second; counts of what cannot be sent again.
   * @throws MixError if nothing can
   */
  mix() {
    if (this.#count === 0) {
      throw new MixError(
        this.#leftOut.size === 0
          ? 'has no line of an access log: JSON lines of this service, or the combined format of nginx'
          : `has no request that can be sent again, but ${textOf(this.#leftOut)}`,
      );
    }
    const seconds = (this.#lastMs - this.#firstMs) / 1000;
    const perSecond = seconds >= 1 ? this.#count / seconds : undefined;
    return { entries: [...this.#entries.values()], perSecond, leftOut: this.#leftOut };
  }
}

/** `12 GET /health 200, …`, the most frequent first. */
export function textOf(counts) {
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return sorted.map(([name, count]) => `${count} ${name}`).join(', ');
}

function requestOf(line) {
  if (line.startsWith('{')) {
    const { context, method, route, status, ms, timestamp } = parsed(line) ?? {};
    if (context !== 'Request' || typeof route !== 'string') return undefined;
    return { method, route, query: {}, status, ms, atMs: Date.parse(timestamp) };
  }
  const match = COMBINED.exec(line)?.groups;
  if (match === undefined) return undefined;
  const url = parsedUrl(match.target);
  if (url === undefined) return undefined;
  const query = Object.fromEntries(url.searchParams);
  const { method, status, time } = match;
  return { method, route: url.pathname, query, status: Number(status), atMs: nginxTimeMs(time) };
}

/** What the request was; or the name under which it is counted as left out. */
function operationOf({ method, route, query, status }) {
  const label = `${method} ${route.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/i, ':id')} ${status}`;
  if (status !== 200 && status !== 201 && status !== 304) return label;
  const [protocol, kind, field = ''] = route.split(' ');
  if (protocol === 'graphql' || route === '/graphql') {
    if (method !== 'POST' || kind === 'subscription') return label;
    if (kind !== 'mutation') return operation('graphql-list', {});
    return field === 'bulkCreateAuditEvents'
      ? operation('graphql-bulk', {})
      : operation('graphql-write', {});
  }
  const procedure = protocol === 'trpc' ? kind : /^\/trpc\/([^,]+)$/.exec(route)?.[1];
  if (procedure === 'performance.getOptimizedAuditEvents') return operation('trpc-list', {});
  if (procedure === 'performance.bulkCreateAuditEvents') return operation('trpc-bulk', {});
  const rest = ROUTE.exec(route)?.groups?.rest;
  if (!ROUTE.test(route)) return label;
  if (method === 'POST') {
    if (rest === undefined) return operation(status === 200 ? 'duplicate' : 'write', {});
    if (rest === '/ingest' || (rest === '/bulk' && status === 200)) return operation('ingest', {});
    return rest === '/bulk' ? operation('bulk', {}) : label;
  }
  if (method !== 'GET' || rest === '/tail') return label;
  if (rest === '/stream') {
    const { format } = query;
    return operation('export', KINDS.format.holds(format) ? { format } : {});
  }
  if (rest !== undefined) return operation('read', {});
  const limit = KINDS.limit.holds(Number(query.limit)) ? { limit: Number(query.limit) } : {};
  if (status === 304) return operation('conditional', limit);
  if (query.cursor !== undefined) return operation('page', limit);
  const kept = Object.entries(query).filter(([name]) => !FOREIGN.includes(name));
  return operation('list', {
    ...limit,
    ...(kept.length > 0 ? { query: Object.fromEntries(kept) } : {}),
  });
}

function operation(name, options) {
  return { operation: name, options };
}

function nameOf(name, options) {
  const { query, ...others } = options;
  const given = [...Object.entries(others).map(([key, value]) => `${key} ${value}`)];
  if (query !== undefined) given.push(new URLSearchParams(query).toString());
  return given.length === 0 ? name : `${name} (${given.join(', ')})`;
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // a line that was cut
  }
}

function parsedUrl(target) {
  try {
    return new URL(target, 'http://service');
  } catch {
    return undefined;
  }
}

/** `30/Nov/2026:20:15:28 +0000` */
function nginxTimeMs(text) {
  const match = /^(\d+)\/(\w{3})\/(\d{4}):([\d:]{8}) ([+-]\d{2})(\d{2})$/.exec(text);
  if (match === null) return NaN;
  const [, day, month, year, time, hours, minutes] = match;
  const number = String(MONTHS.indexOf(month) + 1).padStart(2, '0');
  return Date.parse(`${year}-${number}-${day}T${time}${hours}:${minutes}`);
}

function isIntegerTo(value, most) {
  return Number.isInteger(value) && value >= 1 && value <= most;
}

function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
