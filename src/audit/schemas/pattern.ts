import { RE2JS } from 're2js';

export const MAX_PATTERN_CHARACTERS = 512;
/** Instructions of a compiled pattern: each character of a text may cost as many steps. */
const MAX_PATTERN_STEPS = 512;
/** Longer texts match no pattern. */
export const MAX_MATCHED_CHARACTERS = 1024;

/**
 * A `pattern` of a schema in the syntax of RE2, which has no backreference and no lookaround and takes linear time: patterns
 * come from clients, and `RegExp` takes exponential time for `^(a+)+$`. A text of more than 1024 characters matches none.
 */
export class Pattern {
  /** The instructions of the compiled pattern. */
  readonly steps: number;
  private readonly program: RE2JS;

  /** @throws Error with the reason for which this is no pattern. */
  constructor(readonly text: string) {
    if (text.length > MAX_PATTERN_CHARACTERS) {
      throw new Error(`must have at most ${MAX_PATTERN_CHARACTERS} characters`);
    }
    try {
      this.program = RE2JS.compile(RE2JS.translateRegExp(text));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`must be a regular expression of RE2: ${reason}`, { cause: error });
    }
    this.steps = this.program.programSize();
    if (this.steps > MAX_PATTERN_STEPS) {
      throw new Error(
        `is too large: it compiles to ${this.steps} steps of at most ${MAX_PATTERN_STEPS}; a length is better limited by maxLength`,
      );
    }
  }

  test(text: string): boolean {
    return text.length <= MAX_MATCHED_CHARACTERS && this.program.test(text);
  }

  /** The key by which ajv shares patterns. */
  toString(): string {
    return this.text;
  }
}
