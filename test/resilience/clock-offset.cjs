// Loaded into a process of the service (node --require): at each SIGUSR2 its clock goes back by an hour.
const HOUR_MS = 3_600_000;
const RealDate = Date;
let offsetMs = 0;

globalThis.Date = class Date extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(RealDate.now() - offsetMs);
    else super(...parts);
  }

  static now() {
    return RealDate.now() - offsetMs;
  }
};

process.on('SIGUSR2', () => {
  offsetMs += HOUR_MS;
  console.log(`The clock goes back to ${new Date().toISOString()}`);
});
