import { readFile, stat } from 'node:fs/promises';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { keysUnavailable } from './challenge';
import {
  MAX_KEY_AGE_MS,
  UNKNOWN_KEY_INTERVAL_MS,
  type VerificationKeys,
} from './verification-keys';

interface LoadedKeySet {
  keys: JSONWebKeySet;
  find: JWTVerifyGetKey;
  version: string;
  /** On the clock of performance.now(). */
  readAtMs: number;
}

/**
 * Keys of a JWKS file, read when first needed, after a change, and for an unknown key id, as a change may keep the
 * metadata. A missing or invalid file is AUTHENTICATION_UNAVAILABLE until repaired, without a restart.
 */
export class JwksFileKeys implements VerificationKeys {
  private loaded: LoadedKeySet | undefined;

  constructor(private readonly path: string) {}

  readonly find: JWTVerifyGetKey = async (header, token) => {
    const keySet = await this.current();
    try {
      return await keySet.find(header, token);
    } catch (error) {
      const isSettled = performance.now() - keySet.readAtMs < UNKNOWN_KEY_INTERVAL_MS;
      if (!(error instanceof errors.JWKSNoMatchingKey) || isSettled) throw error;
      this.loaded = undefined;
      return (await this.current()).find(header, token);
    }
  };

  trustedUntilMs(): number {
    return performance.now() + MAX_KEY_AGE_MS;
  }

  async refresh(): Promise<JSONWebKeySet> {
    this.loaded = undefined;
    return (await this.current()).keys;
  }

  private async current(): Promise<LoadedKeySet> {
    try {
      const { mtimeMs, size, ino } = await stat(this.path);
      const version = `${mtimeMs}-${size}-${ino}`;
      if (this.loaded?.version === version) return this.loaded;
      const keys = JSON.parse(await readFile(this.path, 'utf8')) as JSONWebKeySet;
      this.loaded = { keys, find: createLocalJWKSet(keys), version, readAtMs: performance.now() };
      return this.loaded;
    } catch (error) {
      throw keysUnavailable(error);
    }
  }
}
