// Nest 12 and jose are ESM only, and OpenTelemetry's exporters import modules at run time. The suite runs as CommonJS, so these
// packages are transpiled too.
const transpiled = [
  '@nestjs',
  '@opentelemetry/otlp-exporter-base',
  'jose',
  'file-type',
  '@tokenizer',
  'strtok3',
  'token-types',
  'uint8array-extras',
  '@borewit',
  'eventsource',
  'eventsource-parser',
];

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/src', '<rootDir>/test'],
  testMatch: ['**/*.spec.ts'],
  moduleFileExtensions: ['js', 'mjs', 'cjs', 'ts', 'json'],
  transformIgnorePatterns: [`/node_modules/(?!(?:${transpiled.join('|')})/)`],
  transform: {
    '^.+\\.(ts|js|mjs)$': [
      '@swc/jest',
      {
        swcrc: false,
        sourceMaps: 'inline',
        module: { type: 'commonjs' },
        jsc: {
          target: 'es2022',
          keepClassNames: true,
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
        },
      },
    ],
  },
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  testTimeout: 60_000,
  // More than the two cores of CI: many suites wait for time-outs, standbys and restarts.
  maxWorkers: 3,
};
