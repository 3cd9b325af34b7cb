/**
 * Names with our prefixes that platforms set: Kubernetes and Docker service links (`REDIS_PORT_6379_TCP_ADDR`,
 * `DATABASE_SERVICE_HOST`), systemd (`MEMORY_PRESSURE_*`, `CACHE_DIRECTORY`) and Heroku (`MEMORY_AVAILABLE`).
 */
const SET_BY_PLATFORMS = [
  /_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$/,
  /_PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?$/,
  /^MEMORY_PRESSURE_(?:WATCH|WRITE)$/,
  /^CACHE_DIRECTORY$/,
  /^MEMORY_AVAILABLE$/,
  // Of OpenTelemetry's specification, read by its SDK.
  /^OTEL_(?:SDK_DISABLED|LOG_LEVEL|RESOURCE_ATTRIBUTES|PROPAGATORS|SEMCONV_STABILITY_OPT_IN)$/,
  /^OTEL_(?:TRACES_(?:SAMPLER|SAMPLER_ARG|EXPORTER)|METRICS_EXPORTER|LOGS_EXPORTER)$/,
  /^OTEL_(?:BSP|SPAN|ATTRIBUTE|EVENT|LINK|NODE)_[A-Z_]+$/,
  /^OTEL_EXPORTER_OTLP_(?:TRACES_|METRICS_|LOGS_)?(?:TIMEOUT|COMPRESSION|PROTOCOL|CERTIFICATE|CLIENT_KEY|CLIENT_CERTIFICATE|INSECURE)$/,
];

/** Shorter names are close to too many others. */
const SHORTEST_GUESSED_NAME = 8;
const LONG_NAME = 12;

/** Levenshtein distance. */
export function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const replaced = previous[column - 1] + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, previous[column] + 1, current[column - 1] + 1));
    }
    previous = current;
  }
  return previous[to.length];
}

/** Limit for names without a prefix of ours. */
const MOST_EDITS = 2;

/** A known name that continues the given one precedes a nearer one. */
function nearest(name: string, known: readonly string[]): { name: string; distance: number } {
  const continued = known.filter((candidate) => candidate.startsWith(`${name}_`));
  return (continued.length > 0 ? continued : known)
    .map((candidate) => ({ name: candidate, distance: editDistance(name, candidate) }))
    .reduce((best, candidate) => (candidate.distance < best.distance ? candidate : best));
}

function isNearInLength(one: string, other: string): boolean {
  return Math.abs(one.length - other.length) <= MOST_EDITS;
}

function looksMisspelt(name: string, distance: number): boolean {
  if (name.length < SHORTEST_GUESSED_NAME) return false;
  return distance <= (name.length < LONG_NAME ? 1 : MOST_EDITS);
}

/**
 * One line for each probable misspelling: a name with our prefix, a character or two from a known name, or in our files
 * (`own`). Values are never shown. `known` must not be empty.
 */
export function findProbableTypos(
  names: readonly string[],
  known: readonly string[],
  own: readonly string[] = [],
): string[] {
  const knownNames = new Set(known);
  const prefixes = new Set(
    // The prefixes of NO_PROXY and its like are not ours: NO_COLOR.
    known
      .filter((name) => name.includes('_') && !name.endsWith('_PROXY'))
      .map((name) => name.slice(0, name.indexOf('_') + 1)),
  );
  return names
    .filter((name) => !knownNames.has(name))
    .filter((name) => own.includes(name) || !SET_BY_PLATFORMS.some((link) => link.test(name)))
    .sort()
    .flatMap((name) => {
      const ours = own.includes(name) || prefixes.has(name.slice(0, name.indexOf('_') + 1));
      // Each edit changes the length by one at most, which excludes most names.
      const near = ours ? known : known.filter((other) => isNearInLength(other, name));
      if (near.length === 0) return [];
      const closest = nearest(name, near);
      if (!ours && !looksMisspelt(name, closest.distance)) return [];
      return [
        `${name} is not a variable of this service, probably a typo; the nearest is ${closest.name}`,
      ];
    });
}
