/**
 * JSON read without losing anything: numbers stay text, members are sorted by name, so two texts that say the same
 * become equal. Independent of the code under test and of `JSON.parse` as far as numbers go; iterative tokens,
 * recursive values (specs nest a few dozen levels).
 */
const TOKEN =
  // eslint-disable-next-line no-control-regex -- JSON strings hold none of them
  /[ \t\n\r]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\.)*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null))/y;

/** One text for every order of members and every white space; number text is kept as it is. */
export function canonicalJson(text: string): string {
  const reader = new Reader(text);
  const value = reader.value();
  reader.end();
  return value;
}

/** The text of each member of an object, as it stands there. */
export function memberTexts(text: string): Map<string, string> {
  return new Reader(text).members();
}

/** The text of each element of an array, as it stands there. */
export function elementTexts(text: string): string[] {
  return new Reader(text).elements();
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  value(): string {
    const token = this.next();
    if (token === '{') return this.objectBody();
    if (token === '[') return this.arrayBody();
    return token.startsWith('"') ? JSON.stringify(JSON.parse(token)) : token;
  }

  end(): void {
    if (this.text.slice(this.at).trim() !== '') throw new SyntaxError(`Rest at ${this.at}`);
  }

  members(): Map<string, string> {
    const found = new Map<string, string>();
    this.next();
    if (this.peek() === '}') return found;
    do {
      const name = JSON.parse(this.next()) as string;
      this.next();
      const from = this.at;
      this.value();
      found.set(name, this.text.slice(from, this.at).trim());
    } while (this.next() === ',');
    return found;
  }

  elements(): string[] {
    const found: string[] = [];
    this.next();
    if (this.peek() === ']') return found;
    do {
      const from = this.at;
      this.value();
      found.push(this.text.slice(from, this.at).trim());
    } while (this.next() === ',');
    return found;
  }

  private objectBody(): string {
    const members: [string, string][] = [];
    if (this.peek() === '}') {
      this.next();
      return '{}';
    }
    do {
      const name = JSON.parse(this.next()) as string;
      this.next();
      members.push([name, this.value()]);
    } while (this.next() === ',');
    members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`;
  }

  private arrayBody(): string {
    const elements: string[] = [];
    if (this.peek() === ']') {
      this.next();
      return '[]';
    }
    do elements.push(this.value());
    while (this.next() === ',');
    return `[${elements.join(',')}]`;
  }

  private peek(): string {
    const { at } = this;
    const token = this.next();
    this.at = at;
    return token;
  }

  private next(): string {
    TOKEN.lastIndex = this.at;
    const match = TOKEN.exec(this.text);
    if (!match) throw new SyntaxError(`No token at ${this.at}`);
    this.at = TOKEN.lastIndex;
    return match[1] ?? match[2] ?? match[3] ?? match[4] ?? '';
  }
}
