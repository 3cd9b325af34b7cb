const { default: TestRunner } = require('jest-runner');

/** Runs its specs one after the other. Jest begins with one runner when the other has finished. */
module.exports = class SerialRunner extends TestRunner {
  isSerial = true;
};
