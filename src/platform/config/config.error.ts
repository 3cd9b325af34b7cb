/** One variable that prevents a start. */
export interface Violation {
  variable: string;
  /** Masked value, or undefined when not set. */
  value: string | undefined;
  /** Follows "must": `be an integer from 0 to 65535`. */
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
 * One line per fault with variable, masked value and what is allowed. `warnings` name probable typos: a missing
 * variable may be misspelt.
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
