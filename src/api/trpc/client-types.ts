/* The types that clients import; `npm run trpc-types` bundles them into docs/trpc-types.d.ts. */
export type { AppRouter, SubscriptionRouter } from './app-router';
