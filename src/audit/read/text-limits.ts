import type { CustomTypesConfig } from 'pg';
import type { ResponseReservation } from '../../http/response-memory';
import { AppError } from '../../platform/errors/app-error';

export interface TextLimits {
  /** Bytes in UTF-8. */
  maxBytes?: number;
  reservation?: ResponseReservation;
}

/** Shorter texts are counted by characters: their bytes are at most three times as many. */
const SHORT_TEXT = 1024;

/** Counts text as read. The row beyond `maxBytes` fails its statement, and pg discards the following ones. */
export function countedTypes({ maxBytes = Infinity, reservation }: TextLimits): CustomTypesConfig {
  let bytes = 0;
  const count = (text: string): string => {
    bytes += text.length > SHORT_TEXT ? Buffer.byteLength(text) : text.length;
    if (bytes > maxBytes) throw pageTooLarge(maxBytes);
    reservation?.resizeForRows(bytes);
    return text;
  };
  return { getTypeParser: () => count };
}

function pageTooLarge(maxBytes: number): AppError {
  const size = `${Math.floor(maxBytes / (1024 * 1024))} MiB`;
  return new AppError(
    'REQUEST_TOO_LARGE',
    `The page would be larger than ${size}: ask for fewer events with \`limit\`, or export them (/audit/events/stream).`,
    { errors: [{ path: 'limit', message: `must be lower: these events have more than ${size}` }] },
  );
}
