import js from '@eslint/js';
import tseslint from 'typescript-eslint';

const WALL_CLOCK =
  'The wall clock may be set at any time: durations, deadlines and ages go by performance.now(). Where the moment itself is meant, call wallClockMs() or wallClockText() of src/platform/runtime/clocks.ts (docs/adr/0033-two-clocks.md).';

export default tseslint.config(
  {
    // Clients are compiled with what generators make: scripts/check-clients.mjs.
    ignores: [
      'dist/',
      'packages/*/dist/',
      'packages/*/types/',
      'coverage/',
      'node_modules/',
      '.data/',
      'test/clients/',
      'docs/trpc-types.d.ts',
    ],
  },
  js.configs.recommended,
  {
    files: ['**/*.{mjs,cjs}'],
    languageOptions: {
      globals: Object.fromEntries(
        [
          'process',
          'console',
          'module',
          'require',
          'Buffer',
          'URL',
          'setTimeout',
          'clearTimeout',
          'setInterval',
          'clearInterval',
          'fetch',
          'performance',
          '__dirname',
          'setImmediate',
          'crypto',
          'URLSearchParams',
          'TextEncoder',
          'AbortController',
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
  {
    files: ['src/api/graphql/graphiql/*.js'],
    languageOptions: {
      sourceType: 'script',
      globals: Object.fromEntries(
        [
          'document',
          'location',
          'fetch',
          'URL',
          'setTimeout',
          'clearTimeout',
          'React',
          'ReactDOM',
          'GraphiQL',
          'graphqlWs',
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'docs/*.ts', 'packages/*/src/**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: false }],
      '@typescript-eslint/consistent-type-imports': 'off',
      'no-console': 'error',
    },
  },
  {
    files: ['**/*.spec.ts', 'test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  { files: ['src/cli/**/*.ts', 'src/import/**/*.ts'], rules: { 'no-console': 'off' } },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/platform/runtime/clocks.ts', '**/*.spec.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='Date'][property.name='now']",
          message: WALL_CLOCK,
        },
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: WALL_CLOCK },
        { selector: "CallExpression[callee.name='Date']", message: WALL_CLOCK },
      ],
    },
  },
  {
    // Where the wall clock is meant. A file that is added says here why.
    files: ['src/**/*.ts'],
    ignores: [
      'src/platform/runtime/clocks.ts',
      '**/*.spec.ts',
      // Timestamps of answers, reports and alerts, and names of files: for people and for other programs.
      'src/audit/export/audit-exports.ts',
      'src/caching/cache-invalidation.ts',
      'src/caching/cache.controller.ts',
      'src/maintenance/database-report.ts',
      'src/maintenance/optimizer.ts',
      'src/maintenance/maintenance.ts',
      'src/maintenance/sealing.ts',
      'src/metrics/alert-state.ts',
      'src/metrics/performance.report.ts',
      'src/platform/logging/service-logger.ts',
      'src/profiling/profiles.controller.ts',
      // Ids and timestamps of events, and the bound of those that clients give.
      'src/audit/event/uuid7.ts',
      'src/audit/event/dto/create-audit-event.dto.ts',
      // Months and days of events: partitions, where pages begin, what is warmed and counted, what retention removes.
      'src/audit/read/event-counts.ts',
      'src/audit/read/event-warmup.ts',
      'src/audit/read/page-windows.ts',
      'src/maintenance/retention.ts',
      'src/platform/database/partitions.ts',
      // `exp` and `nbf` of tokens, also of feeds and sockets; expiry of tickets; signatures; dates of HTTP.
      'src/auth/development-token.ts',
      'src/auth/token-verifier.ts',
      'src/auth/verified-token-cache.ts',
      'src/auth/token-life.ts',
      'src/tickets/tickets.ts',
      'src/delivery/signed-sender.ts',
      'src/import/chunk-sender.ts',
      // Keyv's `expires` is turned into a duration at once.
      'src/caching/memory-store.ts',
      // Compares the two clocks.
      'src/metrics/clock-watch.ts',
    ],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['**/runtime/clocks'],
              message: `${WALL_CLOCK} Add the file to the list in eslint.config.mjs, with the reason.`,
            },
          ],
        },
      ],
    },
  },
);
