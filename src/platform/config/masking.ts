const MASK = '****';

/** Hides a secret with its length. */
export function maskSecret(): string {
  return MASK;
}

/**
 * Masks password and secret query values in text, as most URLs that are shown did not parse: all up to the last `@`
 * counts as credentials, else text after `name:` that is no port.
 */
export function maskUrl(text: string): string {
  const [, scheme = '', rest = text] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/is.exec(text) ?? [];
  return scheme + maskQuery(maskCredentials(rest));
}

function maskCredentials(rest: string): string {
  const at = rest.lastIndexOf('@');
  if (at < 0) return rest.replace(/^([^/?#:]*:)(?!\d{1,5}(?:[/?#]|$))(?!\/\/).+$/s, `$1${MASK}`);
  const credentials = rest.slice(0, at);
  const colon = credentials.indexOf(':');
  return `${colon < 0 ? '' : credentials.slice(0, colon + 1)}${MASK}${rest.slice(at)}`;
}

function maskQuery(rest: string): string {
  return rest.replace(/([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&#]*/gi, `$1${MASK}`);
}

/** Masks each URL of a list; a comma inside a password does not end its URL. */
export function maskUrlList(text: string): string {
  return text
    .split(/,(?=\s*[a-z][a-z0-9+.-]*:\/\/)/i)
    .map(maskUrl)
    .join(',');
}

/** Keeps scheme and host: the path of a chat webhook is a secret. */
export function maskPath(text: string): string {
  const origin = /^https?:\/\/[^/?#@\s]+(?=[/?#]|$)/i.exec(text)?.[0];
  return origin === undefined ? MASK : `${origin}/${MASK}`;
}
