import type { IncomingHttpHeaders } from 'node:http';
import type { Principal } from '../../auth/principal';
import { AppError, type FieldError, validationFailed } from '../../platform/errors/app-error';
import { type NumberBudget, parseExactJson } from '../../platform/runtime/lossless-json';
import type { SentEvent } from '../event/formats/event-format';

export const ORGANIZATION_HEADER = 'X-Organization-Id';

/**
 * The organization of events that name none: that of the header, else the only one of the token.
 * @throws AppError VALIDATION_FAILED for a header that is no percent-encoded UTF-8.
 */
export function organizationFor(
  headers: IncomingHttpHeaders,
  { organizations }: Principal,
): string | undefined {
  const given = headers[ORGANIZATION_HEADER.toLowerCase()];
  if (typeof given === 'string') {
    try {
      return decodeURIComponent(given);
    } catch {
      const message = 'must be an organization, percent-encoded as UTF-8';
      throw validationFailed([{ path: ORGANIZATION_HEADER, message }]);
    }
  }
  return organizations !== '*' && organizations.length === 1 ? organizations[0] : undefined;
}

/**
 * The value of an event, to be validated.
 * @throws AppError VALIDATION_FAILED at `organizationId` without one; UnacceptableJsonError.
 */
export function eventValue(
  { text, namesOrganization }: SentEvent,
  organizationId: string | undefined,
  budget?: NumberBudget,
): unknown {
  if (namesOrganization) return parseExactJson(text, budget);
  if (organizationId === undefined) {
    const message = `is required, here or in ${ORGANIZATION_HEADER}: the token is not for one organization`;
    throw validationFailed([{ path: 'organizationId', message }]);
  }
  const member = `"organizationId":${JSON.stringify(organizationId)}`;
  return parseExactJson(`{${member},${text.slice(1)}`, budget);
}

/** `[3]` and `type` as one path. */
export function joinPlaces(outer: string, inner: string): string {
  if (inner === '' || outer === '') return `${outer}${inner}`;
  return inner.startsWith('[') ? `${outer}${inner}` : `${outer}.${inner}`;
}

/** A failure with its faults at their places in what was sent. */
export function atPlaces(thrown: unknown, placeOf: (path: string) => string): unknown {
  if (!(thrown instanceof AppError) || !thrown.errors) return thrown;
  const errors: FieldError[] = thrown.errors.map(({ path, message }) => ({
    path: placeOf(path),
    message,
  }));
  if (thrown.code === 'VALIDATION_FAILED') return validationFailed(errors);
  const { code, detail, headers, retryAfterSeconds, cause } = thrown;
  return new AppError(code, detail, { errors, headers, retryAfterSeconds, cause });
}
