// For the spec of commit-build.mjs, which is TypeScript as all specs are.
export function resolveCommit(root: string, commit: string): string;
export function withBuildOf<T>(
  root: string,
  commit: string,
  work: (dist: string) => Promise<T>,
): Promise<T>;
