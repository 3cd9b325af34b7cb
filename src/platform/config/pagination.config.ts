import { defineConfig } from './define-config';
import { integer } from './variables';

/** Limits of lists. */
export const paginationConfig = defineConfig(
  'pagination',
  {
    /** Entries without `limit`; at most PAGINATION_MAX_LIMIT. */
    defaultLimit: integer('PAGINATION_DEFAULT_LIMIT', 1, 1000),
    maxLimit: integer('PAGINATION_MAX_LIMIT', 1, 1000),
    /** Pages beyond need a cursor. */
    maxOffset: integer('PAGINATION_MAX_OFFSET', 0, 1_000_000_000),
  },
  {
    derive: (settings) => ({
      ...settings,
      defaultLimit: Math.min(settings.defaultLimit, settings.maxLimit),
    }),
  },
);
