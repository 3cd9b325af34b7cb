import { hasExactNumbers, parseExactJson, parseMarkedJson, unmarkJson } from '../front/exact-json';

/**
 * Gives the variables in the body of a GraphQL request the exact numbers of its `bytes`: a variable may be a JSON value
 * itself, under any name, and not only members named `metadata` are to keep the text of their numbers.
 */
export function keepExactVariables(body: unknown, bytes: Buffer): void {
  if (!isObject(body) || !hasExactNumbers(body) || !isObject(body.variables)) return;
  const marked = parseMarkedJson(bytes.toString('utf8')) as { variables: Record<string, unknown> };
  for (const [name, value] of Object.entries(marked.variables)) {
    if (!isObject(value)) continue;
    body.variables[name] = parseExactJson(unmarkJson(JSON.stringify(value)));
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
