export type UnconfirmedTenants = readonly string[] | '*';

/** Limit in characters of all names; beyond it all tenants are unconfirmed. */
const MAX_CHARACTERS = 1024 * 1024;

/** Tenants with unconfirmed commits, in bounded memory. */
export class UnconfirmedCommits {
  private readonly names = new Set<string>();
  private characters = 0;
  private areAll = false;

  /** Count; Infinity for all. */
  get size(): number {
    return this.areAll ? Infinity : this.names.size;
  }

  add(tenants: Iterable<string>): void {
    for (const name of tenants) {
      if (this.areAll || this.names.has(name)) continue;
      this.names.add(name);
      this.characters += name.length;
      if (this.characters > MAX_CHARACTERS) this.addAll();
    }
  }

  /** Moves the tenants of another set here. */
  take(other: UnconfirmedCommits): void {
    if (other.areAll) this.addAll();
    this.add(other.names);
    other.clear();
  }

  has(tenants: UnconfirmedTenants): boolean {
    if (this.areAll) return true;
    if (this.names.size === 0) return false;
    return tenants === '*' || tenants.some((name) => this.names.has(name));
  }

  private addAll(): void {
    this.clear();
    this.areAll = true;
  }

  private clear(): void {
    this.names.clear();
    this.characters = 0;
    this.areAll = false;
  }
}
