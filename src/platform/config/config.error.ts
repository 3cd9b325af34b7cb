/** One variable that keeps the service from starting. */
export interface Violation {
  variable: string;
  /** Its value as it may be shown, or undefined when it is not set. */
  value: string | undefined;
  /** What would be accepted, worded to follow "must": `be an integer from 0 to 65535`. */
  allowed: string;
}

const SHOWN_CHARACTERS = 120;

function quote(value: string): string {
  const cut = value.length > SHOWN_CHARACTERS ? `${value.slice(0, SHOWN_CHARACTERS)}…` : value;
  return JSON.stringify(cut);
}

function describe({ variable, value, allowed }: Violation): string {
  return value === undefined
    ? `${variable} is not set: it must ${allowed}`
    : `${variable}=${quote(value)}: it must ${allowed}`;
}

/**
 * The message has exactly one line per fault, naming the variable, its value (secrets masked) and what is allowed.
 * `warnings` name probable typos: what is not set may be there under a misspelt name.
 */
export class ConfigError extends Error {
  readonly violations: readonly Violation[];

  constructor(
    faults: readonly Violation[],
    readonly warnings: readonly string[] = [],
  ) {
    super(faults.map(describe).join('\n'));
    this.name = 'ConfigError';
    this.violations = faults;
  }
}
