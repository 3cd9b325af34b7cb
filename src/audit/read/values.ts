/** Parameters of a statement. */
export class Values {
  readonly list: unknown[] = [];

  bind(value: unknown, type: string): string {
    this.list.push(value);
    return `$${this.list.length}::${type}`;
  }
}
