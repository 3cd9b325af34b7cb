const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * What takes longest on a quiet machine, longest first: begun last, one of these would run on alone. Jest knows durations
 * only where it has run before, and elsewhere goes by the size of files.
 */
const LONGEST = [
  'resilience/standby-asynchronous',
  'e2e/slow-clients',
  'resilience/standby-synchronous',
  'resilience/standby-pgbouncer',
  'resilience/outputs',
  'resilience/response-memory',
  'resilience/cache-differential',
  'resilience/database-outages',
  'resilience/',
  'integration/crash',
  'e2e/synchronous-standby',
  'e2e/fuzz',
  'e2e/token-ends',
  'integration/log-secrets',
];

const rankOf = ({ path }) => {
  const rank = LONGEST.findIndex((part) => path.includes(`/test/${part}`));
  return rank === -1 ? LONGEST.length : rank;
};
const isSerial = ({ context }) => Number(context.config.displayName?.name === 'timing');

/** Begins with the longest specs, and leaves those that are about time to the end, when nothing else runs. */
module.exports = class LongestFirstSequencer extends Sequencer {
  sort(tests) {
    const sorted = super.sort(tests);
    return [...sorted].sort((a, b) => isSerial(a) - isSerial(b) || rankOf(a) - rankOf(b));
  }
};
