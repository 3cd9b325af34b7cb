/** The claims of a token that the header shows. The service alone verifies it. */
export interface Claims {
  subject: string;
  /** `*` stands for all. */
  organizations: readonly string[];
}

/** Claims of a JWT; undefined for another text. */
export function claimsOf(token: string): Claims | undefined {
  const [, payload, signature, ...more] = token.split('.');
  if (payload === undefined || signature === undefined || more.length > 0) return undefined;
  try {
    const binary = atob(payload.replace(/-/g, '+').replace(/_/g, '/'));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    const { sub, organizations } = claims;
    const all = typeof organizations === 'string' ? [organizations] : organizations;
    return {
      subject: typeof sub === 'string' ? sub : '',
      organizations: Array.isArray(all) ? all.filter((one) => typeof one === 'string') : [],
    };
  } catch {
    return undefined;
  }
}
