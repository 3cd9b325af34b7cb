// The command line of the load generator.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** A mistake on the command line; the message is one line. */
export class UsageError extends Error {}

export const USAGE = `Usage: npm run load -- --url URL (--profile FILE | --access-log FILE) [options]

Drives a running service with a mix of operations, prints percentiles each second and a summary, and checks every answer: status,
JSON, order and size of pages, ETags, receipts; every event it wrote comes back as it was sent, once, and sequences have no gaps.
It writes events to the organizations of the token: use it on a service whose data may have them.

  --url URL            the service (http://localhost:PORT, with the PORT of the environment or 3000)
  --token JWT          a token that may read, write and export; better in the environment as AUDIT_TOKEN
  --organizations A,B  where events are written and read; by default those of the token (at most the first 20)
  --profile FILE       a mix as JSON; scripts/load/mixed.profile.json is one
  --access-log FILE    the mix of a recording: lines of this service (JSON) or of nginx (combined); - is standard input
  --rate R             requests a second, sent when they are due whether or not the service keeps up (an open loop); response
                       times count from when each was due. The rate of the access log, if neither this nor --connections is given
  --connections N      N clients that each ask again as soon as they have their answer (a closed loop); 8 with a profile
  --duration S         seconds (30)
  --requests N         end after so many requests
  --timeout S          seconds after which a request has failed (60)
  --out FILE           the summary as JSON
  --help               this text

Ctrl-C ends the load, checks what was written, and prints the summary; a second one ends at once.
Exit status: 0 every answer was right, 1 an answer was wrong or a request failed, 2 usage, no service there, or a token that it
refuses.
`;

const OPTIONS = {
  url: { type: 'string' },
  token: { type: 'string' },
  organizations: { type: 'string' },
  profile: { type: 'string' },
  'access-log': { type: 'string' },
  rate: { type: 'string' },
  connections: { type: 'string' },
  duration: { type: 'string' },
  requests: { type: 'string' },
  timeout: { type: 'string' },
  out: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
};
const MAX_ORGANIZATIONS = 20;

/** What to do; undefined for --help. @throws UsageError */
export function readArguments(argv, environment) {
  const values = parsed(argv);
  if (values.help) return undefined;
  const { profile, 'access-log': accessLog } = values;
  if ((profile === undefined) === (accessLog === undefined)) {
    throw new UsageError('give one of --profile FILE and --access-log FILE');
  }
  if (values.rate !== undefined && values.connections !== undefined) {
    throw new UsageError('give one of --rate and --connections');
  }
  const token = tokenOf(values.token ?? environment.AUDIT_TOKEN);
  return {
    url: urlOf(values.url ?? `http://localhost:${environment.PORT?.trim() || '3000'}`),
    token,
    organizations: organizationsOf(values.organizations, token),
    profile: pathOf(profile, environment),
    accessLog: accessLog === '-' ? '-' : pathOf(accessLog, environment),
    rate: numberOf('rate', values.rate, 100_000),
    connections: numberOf('connections', values.connections, 10_000, true),
    seconds: numberOf('duration', values.duration, 7 * 86_400) ?? (values.requests ? Infinity : 30),
    requests: numberOf('requests', values.requests, 1e9, true) ?? Infinity,
    timeoutMs: (numberOf('timeout', values.timeout, 3600) ?? 60) * 1000,
    out: pathOf(values.out, environment),
  };
}

function parsed(argv) {
  try {
    const { values, positionals } = parseArgs({
      args: argv,
      options: OPTIONS,
      allowPositionals: true,
    });
    if (positionals.length > 0) throw new Error(`unexpected argument ${positionals[0]}`);
    return values;
  } catch (error) {
    throw new UsageError(error.message.split(/\. |\n/)[0]);
  }
}

function urlOf(text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url.href.replace(/\/+$/, '');
  throw new UsageError(`--url ${text} is no http or https URL`);
}

function tokenOf(text) {
  const token = text?.trim();
  if (!token) {
    throw new UsageError(
      'there is no token: --token JWT or AUDIT_TOKEN; `npm run -s token -- --sub load --organizations load-1,load-2 --scope "audit:read audit:write audit:export"` makes one',
    );
  }
  if (/^[\w.~+/=-]+$/.test(token)) return token;
  throw new UsageError('the token has characters that no token has');
}

/** Given ones, or those of the claim `organizations` of the token, which the service verifies. */
function organizationsOf(text, token) {
  if (text !== undefined) {
    const names = text.split(',').map((name) => name.trim());
    if (names.every((name) => name !== '')) return names;
    throw new UsageError('--organizations takes names with commas between');
  }
  const names = claimsOf(token)?.organizations;
  const isList = Array.isArray(names) && names.length > 0;
  if (isList && names.every((name) => typeof name === 'string' && name !== '*')) {
    return names.slice(0, MAX_ORGANIZATIONS);
  }
  throw new UsageError(
    'the token names no organizations (claim organizations): give --organizations A,B',
  );
}

function claimsOf(token) {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  } catch {
    return undefined; // an opaque token
  }
}

/** npm runs the command in the folder of package.json, and passes the original one. */
function pathOf(name, environment) {
  return name === undefined ? undefined : resolve(environment.INIT_CWD ?? process.cwd(), name);
}

function numberOf(name, text, most, isInteger = false) {
  if (text === undefined) return undefined;
  const value = Number(text);
  const kind = isInteger ? 'an integer from 1' : 'a number above 0';
  const isKind = isInteger ? Number.isInteger(value) : Number.isFinite(value);
  if (isKind && value > 0 && value <= most) return value;
  throw new UsageError(`--${name} ${text}: it takes ${kind} to ${most}`);
}
