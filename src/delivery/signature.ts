import { createHmac } from 'node:crypto';

/**
 * The signature of a delivery: `t=<seconds since 1970>,v1=<hex of HMAC-SHA-256 over "t.body">`. A receiver computes the
 * same, compares in constant time, and refuses a `t` that is minutes old, so that nobody can send it again.
 */
export function alertSignature(secret: string, timestampSeconds: number, body: string): string {
  const mac = createHmac('sha256', secret).update(`${timestampSeconds}.${body}`).digest('hex');
  return `t=${timestampSeconds},v1=${mac}`;
}
