// For the spec of exact-json.mjs, which is TypeScript as all specs are.
export function exactNumber(digits: string): string;
export function parseExact(text: string): unknown;
export function exactText(value: unknown): string;
export function differenceOf(expected: object, received: unknown): string | undefined;
