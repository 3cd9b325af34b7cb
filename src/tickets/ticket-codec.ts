import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';

const EXPIRY_BYTES = 6;
const SECRET_BYTES = 32;
const MAC_BYTES = 16;
const TICKET_BYTES = EXPIRY_BYTES + SECRET_BYTES + MAC_BYTES;

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** The part of a ticket that its holder alone knows: 256 random bits. */
export class TicketSecret {
  constructor(readonly bytes: Buffer = randomBytes(SECRET_BYTES)) {}

  /** Key of the ticket in the table, from which the secret cannot be computed. */
  get hash(): Buffer {
    return createHash('sha256').update(this.bytes).digest();
  }

  /** Encrypts the token (AES-256-GCM), for the holder of the ticket alone. To be called once: the key has one nonce. */
  seal(token: string): Buffer {
    const { key, iv } = this.derived();
    const cipher = createCipheriv(CIPHER, key, iv);
    return Buffer.concat([cipher.update(token, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  }

  /** The token. @throws Error when what was sealed has been changed. */
  open(sealed: Buffer): string {
    const { key, iv } = this.derived();
    const decipher = createDecipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    const text = decipher.update(sealed.subarray(0, -TAG_BYTES));
    return Buffer.concat([text, decipher.final()]).toString('utf8');
  }

  private derived(): { key: Buffer; iv: Buffer } {
    const bytes = hkdfSync('sha256', this.bytes, '', 'token of a ticket', KEY_BYTES + IV_BYTES);
    const derived = Buffer.from(bytes);
    return { key: derived.subarray(0, KEY_BYTES), iv: derived.subarray(KEY_BYTES) };
  }
}

/** Content of a genuine ticket; `expiresAtMs` is on the clock of the database, in milliseconds since 1970. */
export interface Ticket {
  secret: TicketSecret;
  expiresAtMs: number;
}

/**
 * The text of tickets: expiry, secret, and a MAC of the service over both, in base64url. By the MAC a ticket that was
 * never issued is refused without a query, and one whose row is gone is known to have been used.
 */
export class TicketCodec {
  private readonly key: KeyObject;

  /** @param key at least 32 secret bytes, the same on every replica. */
  constructor(key: Buffer) {
    this.key = createSecretKey(key);
  }

  /** 72 characters, safe in URLs. */
  encode({ secret, expiresAtMs }: Ticket): string {
    const expiry = Buffer.alloc(EXPIRY_BYTES);
    expiry.writeUIntBE(expiresAtMs, 0, EXPIRY_BYTES);
    const content = Buffer.concat([expiry, secret.bytes]);
    return Buffer.concat([content, this.macOf(content)]).toString('base64url');
  }

  /** Undefined for a text that this service has not issued. */
  decode(text: string): Ticket | undefined {
    const bytes = Buffer.from(text, 'base64url');
    // Decoding ignores characters outside base64url; only the canonical spelling is accepted.
    if (bytes.length !== TICKET_BYTES || bytes.toString('base64url') !== text) return undefined;
    const content = bytes.subarray(0, -MAC_BYTES);
    if (!timingSafeEqual(bytes.subarray(-MAC_BYTES), this.macOf(content))) return undefined;
    const secret = new TicketSecret(content.subarray(EXPIRY_BYTES));
    return { secret, expiresAtMs: content.readUIntBE(0, EXPIRY_BYTES) };
  }

  private macOf(content: Buffer): Buffer {
    return createHmac('sha256', this.key).update(content).digest().subarray(0, MAC_BYTES);
  }
}
