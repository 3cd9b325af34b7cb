import { parseArgs } from 'node:util';
import {
  DEVELOPMENT_CLAIMS,
  signDevelopmentToken,
  type DevelopmentClaims,
} from '../auth/development-token';
import { SCOPES, type Scope } from '../auth/principal';
import { authConfig, type AuthConfig } from '../platform/config/settings';
import { surviveClosedOutputs } from '../platform/logging/log-output';

const USAGE = `Usage: npm run token -- [options]

Prints a signed JWT for the configured AUTH_JWT_SECRET, and nothing else, on stdout.

  --sub <id>              who the token is for               (default: ${DEVELOPMENT_CLAIMS.subject})
  --organizations <ids>   comma-separated; "*" means all     (default: ${DEVELOPMENT_CLAIMS.organizations.join(',')})
  --scope "<scopes>"      space-separated                    (default: all scopes)
                          ${SCOPES.join(' ')}
  --expires-in <time>     3600, 90s, 30m, 1h, 7d             (default: 12h)
  --help                  shows this
`;

const UNIT_SECONDS: Partial<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Ten years: a mistyped number exceeds it. */
const MAX_EXPIRY_SECONDS = 3650 * 86_400;

/** The token goes to `out`, everything else to `err`. */
interface Streams {
  out: (text: string) => void;
  err: (text: string) => void;
}

/** The message is one line. */
class UsageError extends Error {}

/** Resolves to the exit code: 0, 1 when no token can be signed here, 2 for a mistake in the arguments. */
export async function runTokenTool(
  argv: string[],
  loadConfig: () => AuthConfig,
  { out, err }: Streams,
): Promise<number> {
  try {
    const claims = claimsOf(argv);
    if (claims === undefined) {
      out(USAGE);
      return 0;
    }
    out(`${await signDevelopmentToken(loadConfig(), claims)}\n`);
    return 0;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const mistaken = error instanceof UsageError;
    err(mistaken ? `${message}\n\n${USAGE}` : `${message}\n`);
    return mistaken ? 2 : 1;
  }
}

/** Undefined for `--help`. */
function claimsOf(argv: string[]): DevelopmentClaims | undefined {
  const options = parse(argv);
  if (options.help) return undefined;
  const { subject, organizations, scopes, expiresInSeconds } = DEVELOPMENT_CLAIMS;
  return {
    subject: options.sub === undefined ? subject : idOf('--sub', options.sub),
    organizations:
      options.organizations === undefined
        ? organizations
        : options.organizations.split(',').map((id) => idOf('--organizations', id)),
    scopes: options.scope === undefined ? scopes : scopesOf(options.scope),
    expiresInSeconds:
      options['expires-in'] === undefined ? expiresInSeconds : secondsOf(options['expires-in']),
  };
}

function parse(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      options: {
        sub: { type: 'string' },
        organizations: { type: 'string' },
        scope: { type: 'string' },
        'expires-in': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    // Some messages of Node go on about positional arguments.
    const [message = ''] = (error as Error).message.split(/\n|\. (?=To )/);
    throw new UsageError(message);
  }
}

function idOf(option: string, text: string): string {
  const id = text.trim();
  if (id === '' || id.length > 255) {
    throw new UsageError(`${option} wants ids of 1 to 255 characters, not '${id.slice(0, 50)}'`);
  }
  return id;
}

function scopesOf(text: string): Scope[] {
  const names = text.split(/\s+/).filter((name) => name !== '');
  const known: readonly string[] = SCOPES;
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`--scope does not know '${unknown}'; the scopes are: ${SCOPES.join(' ')}`);
  }
  return names as Scope[];
}

function secondsOf(text: string): number {
  const [, digits, unit = 's'] = /^(\d{1,12})([smhd])?$/.exec(text) ?? [];
  const seconds = Number(digits) * (UNIT_SECONDS[unit] ?? NaN);
  if (!(seconds >= 1 && seconds <= MAX_EXPIRY_SECONDS)) {
    throw new UsageError(
      `--expires-in wants a time such as 3600, 30m, 1h or 7d (ten years at most), not '${text.slice(0, 50)}'`,
    );
  }
  return seconds;
}

if (require.main === module) {
  surviveClosedOutputs();
  runTokenTool(process.argv.slice(2), authConfig, {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  }).then(
    (exitCode) => {
      process.exitCode = exitCode;
    },
    (error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    },
  );
}
