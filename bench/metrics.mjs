// Cost of recording and logging on the route where it is the largest share: a cached page of the fast path. Both services
// are up at once and loaded alternately, so that other load of the machine meets both alike.
import { interleaved, load, report, sampleEvent, startService, token } from './support.mjs';

const ROUNDS = 7;
const CONNECTIONS = 64;
const ORGANIZATION = 'measured';

export async function metrics(databaseUrl) {
  const empty = await startService(databaseUrl); // migrates
  await fill(empty.url);
  await empty.stop();
  const quiet = { LOG_LEVEL: 'warn' };
  await compare(databaseUrl, 'recording on vs off', 0.97, quiet, {
    ...quiet,
    MONITORING_ENABLED: 'false',
  });
  await compare(databaseUrl, 'a line logged for each request vs none', 0.5, {}, quiet);
}

async function fill(url) {
  const response = await fetch(`${url}/api/v1/audit/events/bulk`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await token([ORGANIZATION])}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      events: Array.from({ length: 100 }, (_, index) => sampleEvent(ORGANIZATION, index)),
    }),
  });
  if (response.status !== 201) throw new Error(`The events were not written: ${response.status}`);
}

async function compare(databaseUrl, what, wanted, with_, without) {
  const services = [
    await startService(databaseUrl, with_),
    await startService(databaseUrl, without),
  ];
  const headers = { authorization: `Bearer ${await token([ORGANIZATION])}` };
  const [on, off] = services.map(
    ({ url }) =>
      () =>
        load({ url: `${url}/api/v1/audit/events`, headers, connections: CONNECTIONS }),
  );
  try {
    const rates = await interleaved({ on, off }, ROUNDS);
    report(`cached page of 50, ${what}`, rates.on, rates.off, wanted);
  } finally {
    await Promise.all(services.map((service) => service.stop()));
  }
}
