// npm run load: drives a running service with a mix of operations, and checks its answers. See bench/README.md and --help.
import { createReadStream, readFileSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { readArguments, USAGE, UsageError } from './arguments.mjs';
import { Client, NoAnswer } from './client.mjs';
import { runLoad, TokenRefused } from './load.mjs';
import { MixError, readProfile, Recording, textOf } from './mix.mjs';
import { newRun } from './operations.mjs';
import { OwnEvents } from './own-events.mjs';
import { Statistics, summaryText } from './statistics.mjs';
import { verifyWritten } from './verification.mjs';

const DEFAULT_CONNECTIONS = 8;
const LINE_INTERVAL_MS = 1000;

/** The service is not there, or refuses the token; the message is for the user. */
class StartError extends Error {}

process.stdout.on('error', () => process.exit()); // `| head` has seen enough
process.exitCode = await main().catch((error) => {
  if (!(error instanceof UsageError || error instanceof MixError || error instanceof StartError)) {
    throw error;
  }
  console.error(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : error.message);
  return 2;
});

async function main() {
  const given = readArguments(process.argv.slice(2), process.env);
  if (given === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  const mix = await mixOf(given);
  const { rate, connections } = loopOf(given, mix);
  const client = new Client(given);
  try {
    const baseMs = await requireService(client, given);
    const run = randomBytes(5).toString('hex');
    const own = new OwnEvents({ run, organizations: given.organizations, baseMs });
    const statistics = new Statistics();
    const signal = interruptible();
    const how = rate === undefined ? `${connections} clients` : `${rate.toFixed(1)} requests/s`;
    console.log(
      `${given.url}: ${mix.entries.length} operations, ${how}, organizations ${given.organizations.join(', ')}, run ${run}`,
    );
    if (mix.leftOut?.size > 0) console.log(`Not sent again: ${textOf(mix.leftOut)}`);
    const lines = setInterval(() => console.log(statistics.nextLine()), LINE_INTERVAL_MS);
    let stopped;
    try {
      const { seconds, requests } = given;
      await runLoad({
        mix,
        run: newRun(own),
        client,
        statistics,
        rate,
        connections,
        seconds,
        requests,
        signal,
      });
    } catch (error) {
      if (!(error instanceof TokenRefused)) throw error;
      stopped = error.message;
    } finally {
      clearInterval(lines);
    }
    const compared = stopped === undefined ? await verifyWritten({ own, client, statistics }) : 0;
    return report({ statistics, mix, given, own, compared, stopped });
  } finally {
    await client.close();
  }
}

async function mixOf({ profile, accessLog }) {
  const file = profile ?? accessLog;
  try {
    if (profile !== undefined) return readProfile(readFileSync(profile, 'utf8'));
    const input = accessLog === '-' ? process.stdin : createReadStream(accessLog);
    const recording = new Recording();
    const lines = createInterface({ input, crlfDelay: Infinity });
    for await (const line of lines) recording.add(line);
    return recording.mix();
  } catch (error) {
    if (error instanceof MixError) throw new MixError(`${file} ${error.message}`);
    if (error.code === undefined) throw error;
    throw new UsageError(`${file} cannot be read: ${error.message}`);
  }
}

function loopOf({ rate, connections, accessLog }, { perSecond }) {
  if (rate !== undefined || connections !== undefined) return { rate, connections };
  if (accessLog === undefined) return { connections: DEFAULT_CONNECTIONS };
  if (perSecond !== undefined) return { rate: perSecond };
  throw new UsageError(
    'the access log spans no second, so it has no rate: give --rate or --connections',
  );
}

/** Asks for a page, which needs a token that may read. Resolves to the time of the service. @throws StartError */
async function requireService(client, { url, organizations }) {
  const query = new URLSearchParams({ organization_ids: organizations.join(','), limit: '1' });
  const path = `/api/v1/audit/events?${query}`;
  let answer;
  try {
    answer = await client.send({ method: 'GET', path });
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    throw new StartError(`No service answers at ${url} (${error.message}).`, { cause: error });
  }
  const { status, headers, text } = answer;
  if (status === 200) return timeOfService(headers.date);
  const { detail = text.slice(0, 300) } = parsed(text) ?? {};
  if (status === 401)
    throw new StartError(`The service at ${url} refuses the token (401): ${detail}`);
  if (status === 403) {
    throw new StartError(
      `The token may not read ${organizations.join(', ')} at ${url} (403): ${detail}`,
    );
  }
  throw new StartError(`The service at ${url} answered ${status}: ${detail}`);
}

/**
 * The time of the service (epoch in milliseconds) at an answer with this `Date`, which has whole seconds. The rest is of the own
 * clock: two runs within a second must not begin at the same instant, as the events of the earlier one might be the newer ones.
 */
function timeOfService(date) {
  const nowMs = Date.now();
  const serviceMs = Date.parse(date);
  if (Number.isNaN(serviceMs)) return nowMs;
  const differenceMs = serviceMs - Math.floor(nowMs / 1000) * 1000;
  // An answer from just before the next second is of the same clock.
  return Math.abs(differenceMs) <= 1000 ? nowMs : nowMs + differenceMs;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A signal that ends sending: at an interrupt. Another one ends the process. */
function interruptible() {
  const sending = new AbortController();
  const interrupt = () => {
    if (!sending.signal.aborted) {
      console.log('Interrupted: waiting for answers, and checking what was written.');
    }
    sending.abort();
  };
  process.on('SIGINT', () => {
    if (sending.signal.aborted) process.exit(130);
    interrupt();
  });
  // Not counted as another one: it follows when the shell between npm and this process has ended by the interrupt.
  process.on('SIGTERM', interrupt);
  return sending.signal;
}

/** Prints the summary; the exit code. */
function report({ statistics, mix, given, own, compared, stopped }) {
  const summary = { ...statistics.summary(), written: own.count, compared };
  const recorded = new Map(mix.entries.map(({ name, recorded }) => [name, recorded]));
  console.log(`\n${summaryText(summary, recorded)}`);
  console.log(`${own.count} events sent, ${compared} acknowledged and read again.`);
  if (given.out !== undefined) writeFileSync(given.out, `${JSON.stringify(summary, null, 2)}\n`);
  if (stopped !== undefined) console.log(`Stopped early: ${stopped}`);
  const { count, refused, failed, wrong } = summary.total;
  const isRight = wrong === 0 && failed === 0 && stopped === undefined && count > refused;
  if (count === refused) console.log('No request was served.');
  return isRight ? 0 : 1;
}
