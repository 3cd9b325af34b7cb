import { type DevelopmentClaims, signDevelopmentToken } from '../../src/auth/development-token';
import { PROCESS_SECRET } from '../support/service-process';

/** A token that services started here accept. */
export async function tokenFor(claims: Partial<DevelopmentClaims> = {}): Promise<string> {
  return signDevelopmentToken(
    { keys: { kind: 'secret', secret: PROCESS_SECRET }, algorithms: ['HS256'] },
    {
      subject: 'spec',
      organizations: ['*'],
      scopes: ['audit:read', 'audit:write'],
      expiresInSeconds: 3600,
      ...claims,
    },
  );
}
