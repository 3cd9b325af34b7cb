import { mkdtemp, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { AppError } from '../platform/errors/app-error';
import { TokenVerifier } from './token-verifier';

interface Issuer {
  jwk: JWK;
  privateKey: CryptoKey;
}

async function issuer(kid: string): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA');
  return { jwk: { ...(await exportJWK(publicKey)), kid }, privateKey };
}

let serial = 0;

function sign({ jwk, privateKey }: Issuer) {
  return new SignJWT({ sub: `user-${++serial}` })
    .setProtectedHeader({ alg: 'EdDSA', kid: jwk.kid })
    .setExpirationTime('12h')
    .sign(privateKey);
}

describe('JwksFileKeys', () => {
  let folder: string;
  let path: string;
  let verifier: TokenVerifier;
  let first: Issuer;
  let second: Issuer;

  const write = (...issuers: Issuer[]) =>
    writeFile(path, JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) }));

  async function outcomeOf(token: string): Promise<string> {
    try {
      await verifier.verify(`Bearer ${token}`);
      return 'accepted';
    } catch (error) {
      if (error instanceof AppError) return error.code;
      throw error;
    }
  }

  beforeEach(async () => {
    [first, second] = await Promise.all([issuer('key-1'), issuer('key-2')]);
    folder = await mkdtemp(join(tmpdir(), 'audit-jwks-'));
    path = join(folder, 'jwks.json');
    await write(first);
    verifier = new TokenVerifier({ keys: { kind: 'jwks-file', path }, algorithms: ['EdDSA'] });
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await rm(folder, { recursive: true });
  });

  it('sees a new key and the end of an old one when the file is replaced', async () => {
    expect(await outcomeOf(await sign(first))).toBe('accepted');
    expect(await outcomeOf(await sign(second))).toBe('UNAUTHENTICATED');
    await writeFile(`${path}.new`, JSON.stringify({ keys: [second.jwk] }));
    await rename(`${path}.new`, path);
    expect(await outcomeOf(await sign(second))).toBe('accepted');
    expect(await outcomeOf(await sign(first))).toBe('UNAUTHENTICATED');
  });

  it('reads again for an unknown key, after two seconds, when the change left no mark', async () => {
    const before = await stat(path);
    await utimes(path, before.atime, new Date(1_700_000_000_000));
    expect(await outcomeOf(await sign(first))).toBe('accepted');
    await write(second);
    await utimes(path, before.atime, new Date(1_700_000_000_000));
    expect(await outcomeOf(await sign(second))).toBe('UNAUTHENTICATED');
    const nowMs = performance.now();
    jest.spyOn(Date, 'now').mockReturnValue(Date.now() - 3_600_000); // the wall clock is set back meanwhile
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs + 2_000);
    expect(await outcomeOf(await sign(second))).toBe('accepted');
  });

  it('trusts a known token for five minutes without looking at the file', async () => {
    const token = await sign(first);
    const nowMs = performance.now();
    const now = jest.spyOn(performance, 'now').mockReturnValue(nowMs);
    expect(await outcomeOf(token)).toBe('accepted');
    await write(second);
    now.mockReturnValue(nowMs + 299_999);
    expect(await outcomeOf(token)).toBe('accepted');
    now.mockReturnValue(nowMs + 300_000);
    expect(await outcomeOf(token)).toBe('UNAUTHENTICATED');
  });

  it.each(['', '{', '[]', '{"keys":{}}', 'null'])(
    'holds an outage while the file reads %p, and recovers when it is repaired',
    async (text) => {
      await writeFile(path, text);
      const token = await sign(first);
      expect(await outcomeOf(token)).toBe('AUTHENTICATION_UNAVAILABLE');
      await write(first);
      expect(await outcomeOf(token)).toBe('accepted');
    },
  );

  it('holds an outage while there is no file, and does not say where it looked', async () => {
    await rm(path);
    const error: unknown = await Promise.resolve(
      verifier.verify(`Bearer ${await sign(first)}`),
    ).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'AUTHENTICATION_UNAVAILABLE', retryAfterSeconds: 5 });
    expect((error as AppError).detail).not.toContain('jwks');
    await write(first);
    expect(await outcomeOf(await sign(first))).toBe('accepted');
  });
});
