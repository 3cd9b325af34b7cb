// Loaded into a process of the service (node --require): at each SIGUSR2 its wall clock is set ahead of the real one by
// the milliseconds that the file CLOCK_OFFSET_FILE holds; negative: behind. performance.now() goes on as it does.
const { readFileSync } = require('node:fs');

const RealDate = Date;
let offsetMs = 0;

globalThis.Date = class Date extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(RealDate.now() + offsetMs);
    else super(...parts);
  }

  static now() {
    return RealDate.now() + offsetMs;
  }
};

process.on('SIGUSR2', () => {
  offsetMs = Number(readFileSync(process.env.CLOCK_OFFSET_FILE, 'utf8'));
  process.stderr.write(`The clock is set to ${new Date().toISOString()}\n`);
});
