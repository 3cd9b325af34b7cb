import js from '@eslint/js';
import tseslint from 'typescript-eslint';

const WALL_CLOCK =
  'The wall clock may be set at any time: durations, deadlines and ages go by performance.now(). Where the moment itself is meant, call wallClockMs() or wallClockText() of src/clock/clocks.ts (docs/adr/0033-two-clocks.md).';

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', 'node_modules/', '.data/'] },
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
        ].map((name) => [name, 'readonly']),
      ),
    },
  },
  {
    files: ['src/graphql/graphiql/*.js'],
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
    files: ['src/**/*.ts', 'test/**/*.ts', 'docs/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: false }],
      '@typescript-eslint/consistent-type-imports': 'off',
      'max-lines': ['error', { max: 300 }],
      'max-lines-per-function': ['error', { max: 50, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', 5],
      'no-console': 'error',
    },
  },
  {
    // What goes on for longer than a request ends with its token: these need TokenLife beside what they had.
    files: [
      'src/audit/{audit-event-stream,audit-exports,event-feed,event-ingest}.ts',
      'src/graphql/socket-operations.ts',
    ],
    rules: { 'max-params': ['error', 6] },
  },
  {
    // Queue, transaction and outcome of a write are one state machine, which is easier to follow in one place.
    files: ['src/audit/audit-writer.ts'],
    rules: { 'max-lines': ['error', { max: 400 }] },
  },
  {
    files: ['**/*.spec.ts', 'test/**/*.ts'],
    rules: {
      'max-lines-per-function': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    // One idea each, which would be read in halves: a subscription from its position to its end, the follower of the log,
    // the versions of tenants, and what every protocol says about a log on another timeline.
    files: [
      'src/audit/event-feed.ts',
      'src/audit/live-events.ts',
      'src/audit/head-epochs.ts',
      'test/e2e/timelines.e2e.spec.ts',
    ],
    rules: { 'max-lines': ['error', { max: 450 }] },
  },
  { files: ['src/tools/**/*.ts'], rules: { 'no-console': 'off' } },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/clock/clocks.ts', '**/*.spec.ts'],
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
      'src/clock/clocks.ts',
      '**/*.spec.ts',
      // Timestamps of answers, reports and alerts, and names of files: for people and for other programs.
      'src/audit/audit-exports.ts',
      'src/caching/cache-invalidation.ts',
      'src/caching/cache.controller.ts',
      'src/database/database-report.ts',
      'src/database/optimizer.ts',
      'src/database/upkeep.ts',
      'src/graphql/operator-fields.ts',
      'src/metrics/alert-board.ts',
      'src/metrics/performance.report.ts',
      'src/service-logger.ts',
      // Ids and timestamps of events, and the bound of those that clients give.
      'src/audit/uuid7.ts',
      'src/audit/dto/create-audit-event.dto.ts',
      // Months and days of events: partitions, where pages begin, what is warmed, what retention removes.
      'src/audit/event-warmup.ts',
      'src/audit/page-stretches.ts',
      'src/database/partition-retention.ts',
      'src/database/partitions.ts',
      // `exp` and `nbf` of tokens, also of feeds and sockets; signatures; dates of HTTP.
      'src/auth/development-token.ts',
      'src/auth/token-verifier.ts',
      'src/auth/verified-token-cache.ts',
      'src/audit/event-feed.ts',
      'src/graphql/graphql-connection.ts',
      'src/metrics/alert-webhook.ts',
      'src/tools/import/bulk-client.ts',
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
              group: ['**/clock/clocks'],
              message: `${WALL_CLOCK} Add the file to the list in eslint.config.mjs, with the reason.`,
            },
          ],
        },
      ],
    },
  },
);
