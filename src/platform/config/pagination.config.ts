import { defineConfig } from './define-config';
import { integer } from './variables';

/** How much of a list one request may ask for. */
export const paginationConfig = defineConfig(
  'pagination',
  {
    /** Entries on a page when the request does not say; never more than PAGINATION_MAX_LIMIT. */
    defaultLimit: integer('PAGINATION_DEFAULT_LIMIT', 1, 1000),
    /** Most entries on a page. */
    maxLimit: integer('PAGINATION_MAX_LIMIT', 1, 1000),
    /** Largest offset; what lies beyond is reached with a cursor. */
    maxOffset: integer('PAGINATION_MAX_OFFSET', 0, 1_000_000_000),
  },
  {
    derive: (settings) => ({
      ...settings,
      defaultLimit: Math.min(settings.defaultLimit, settings.maxLimit),
    }),
  },
);
