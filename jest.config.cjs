const swcOptions = require('./test/support/swc.json');

/** Specs that compare how long work takes: they run one after the other when all others are done. */
const TIMING = ['src/caching/cache-key.spec.ts', 'src/caching/cache-control.spec.ts'];

/** @type {import('jest').Config} */
const shared = {
  rootDir: __dirname,
  testEnvironment: '<rootDir>/test/support/one-realm.environment.cjs',
  runtime: '<rootDir>/test/support/native-packages.runtime.cjs',
  roots: ['<rootDir>/src', '<rootDir>/test'],
  moduleFileExtensions: ['js', 'mjs', 'cjs', 'ts', 'json'],
  transform: { '^.+\\.(ts|js|mjs)$': ['@swc/jest', swcOptions] },
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  testTimeout: 60_000,
};

/** @type {import('jest').Config} */
module.exports = {
  testTimeout: 60_000,
  testSequencer: '<rootDir>/test/support/longest-first.sequencer.cjs',
  maxWorkers: '100%',
  projects: [
    {
      ...shared,
      displayName: 'all',
      testMatch: ['**/*.spec.ts'],
      testPathIgnorePatterns: ['/node_modules/', ...TIMING.map((path) => `<rootDir>/${path}`)],
    },
    {
      ...shared,
      displayName: 'timing',
      testMatch: TIMING.map((path) => `<rootDir>/${path}`),
      runner: '<rootDir>/test/support/serial.runner.cjs',
    },
  ],
};
