import { randomBytes } from 'node:crypto';
import { TicketCodec, TicketSecret } from './ticket-codec';

const codec = new TicketCodec(randomBytes(32));
const EXPIRES_AT_MS = Date.UTC(2026, 10, 30, 12, 0, 0, 123);

describe('a ticket', () => {
  const secret = new TicketSecret();
  const text = codec.encode({ secret, expiresAtMs: EXPIRES_AT_MS });

  it('has 256 bits of its own, and 72 characters that a URL takes as they are', () => {
    expect(secret.bytes).toHaveLength(32);
    expect(text).toMatch(/^[A-Za-z0-9_-]{72}$/);
    expect(new TicketSecret().hash.equals(secret.hash)).toBe(false);
  });

  it('is read back', () => {
    const ticket = codec.decode(text);
    expect(ticket?.expiresAtMs).toBe(EXPIRES_AT_MS);
    expect(ticket?.secret.hash.equals(secret.hash)).toBe(true);
  });

  it('is refused with any bit changed, cut, prolonged, spelled otherwise, or of another service', () => {
    const bytes = Buffer.from(text, 'base64url');
    for (let bit = 0; bit < 8 * bytes.length; bit += 1) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(codec.decode(changed.toString('base64url'))).toBeUndefined();
    }
    const others = [
      '',
      text.slice(0, -1),
      `${text}A`,
      `${text}=`,
      ` ${text}`,
      bytes.toString('hex'),
      new TicketCodec(randomBytes(32)).encode({ secret, expiresAtMs: EXPIRES_AT_MS }),
    ];
    expect(others.map((other) => codec.decode(other))).toEqual(others.map(() => undefined));
  });

  it('opens what was sealed with it, unless that has been changed or is of another ticket', () => {
    const token = 'header.payload.signature-ü';
    const sealed = secret.seal(token);
    expect(secret.open(sealed)).toBe(token);
    expect(sealed.includes('payload')).toBe(false);
    expect(() => new TicketSecret().open(sealed)).toThrow();
    for (const at of [0, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => secret.open(changed)).toThrow();
    }
    expect(() => secret.open(sealed.subarray(0, 10))).toThrow();
  });
});
