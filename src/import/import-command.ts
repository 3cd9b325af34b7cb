import { readArguments, USAGE, UsageError, type ImportArguments } from './arguments';
import { BulkClient } from './bulk-client';
import { ChunkSender } from './chunk-sender';
import { ImportRun, type ImportTally } from './import-run';
import { Progress, ratePerSecond, type Terminal } from './progress';
import { RecordReader } from './record-reader';
import { RefusedFile } from './refused-file';
import { SYSTEM_CLOCK, type Clock } from './retry';
import { openSource, type Source } from './source-file';

/** Far below REQUEST_MAX_SIZE_MB, so that a request is parsed and stored in a moment. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** npm hands on a Ctrl-C that the terminal has already delivered: what follows this fast is the same one. */
const SAME_SIGNAL_MS = 1_000;

const EXIT = { done: 0, failed: 1, usage: 2, someRefused: 3, interrupted: 130 } as const;

/** What the command meets outside: a spec puts its own in place. */
export interface Surroundings {
  environment: NodeJS.ProcessEnv;
  output: { write: (text: string) => unknown };
  terminal: Terminal;
  clock: Clock;
}

const PROCESS: Surroundings = {
  environment: process.env,
  output: process.stdout,
  terminal: process.stderr,
  clock: SYSTEM_CLOCK,
};

/**
 * The import command: reads its arguments, imports the file, prints a summary on standard output and everything else on
 * standard error. Resolves to the exit status; throws only for a fault of its own.
 */
export async function runImportCommand(
  argv: string[],
  surroundings: Surroundings = PROCESS,
): Promise<number> {
  const { output, terminal } = surroundings;
  let given: ImportArguments | undefined;
  try {
    given = readArguments(argv, surroundings.environment);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    terminal.write(`${error.message}\n\n${USAGE}`);
    return EXIT.usage;
  }
  if (given === undefined) {
    output.write(USAGE);
    return EXIT.done;
  }
  const stop = new AbortController();
  const progress = new Progress(terminal, given.isQuiet);
  const forget = stopOnSignals(stop, progress);
  try {
    return await importFile({ given, surroundings, stop, progress });
  } finally {
    forget();
  }
}

/** What one call of the command works with. */
interface Call {
  given: ImportArguments;
  surroundings: Surroundings;
  stop: AbortController;
  progress: Progress;
}

async function importFile(call: Call): Promise<number> {
  const { given, stop, progress } = call;
  const refusedFile = new RefusedFile(given.refusedPath);
  let run: ImportRun | undefined;
  let failure: unknown;
  try {
    run = runOf(call, await openSource(given.file, stop.signal), refusedFile);
    await run.run();
  } catch (error) {
    failure = error;
  } finally {
    await refusedFile.close();
    progress.finish();
  }
  const wasInterrupted = failure !== undefined && stop.signal.reason === INTERRUPTED;
  if (failure !== undefined) {
    const why = wasInterrupted ? 'Interrupted.' : `Stopped: ${messageOf(failure)}`;
    progress.say(`${why}\nTo resume, run the same command again: nothing is stored twice.`);
  }
  if (run) call.surroundings.output.write(summaryOf(run.tally, given.refusedPath));
  if (wasInterrupted) return EXIT.interrupted;
  if (failure !== undefined) return EXIT.failed;
  return run && run.tally.refused > 0 ? EXIT.someRefused : EXIT.done;
}

function runOf(call: Call, source: Source, refusedFile: RefusedFile): ImportRun {
  const { given, surroundings, stop, progress } = call;
  const { format, organizationId } = given;
  const { sizeBytes } = source;
  return new ImportRun({
    content: source.content,
    reader: new RecordReader(format, organizationId),
    sender: new ChunkSender({
      client: new BulkClient(given.url, given.token),
      clock: surroundings.clock,
      signal: stop.signal,
      onWait: (reason, waitMs) =>
        progress.say(`${reason}; trying again in ${(waitMs / 1000).toFixed(1)} s`),
    }),
    refusedFile,
    limits: { maxEvents: given.batchSize, maxBytes: MAX_BODY_BYTES },
    concurrency: given.concurrency,
    stop,
    onProgress: (tally) =>
      progress.update(tally, sizeBytes ? source.bytesRead() / sizeBytes : undefined),
  });
}

const INTERRUPTED = new Error('interrupted');

/** The first signal ends the import in good order, a second one at once. Returns what undoes the listening. */
function stopOnSignals(stop: AbortController, progress: Progress): () => void {
  let firstAtMs: number | undefined;
  const onSignal = (): void => {
    if (firstAtMs === undefined) {
      firstAtMs = performance.now();
      progress.say('Stopping as soon as the requests under way are answered (again to stop now).');
      stop.abort(INTERRUPTED);
    } else if (performance.now() - firstAtMs > SAME_SIGNAL_MS) {
      process.exit(EXIT.interrupted);
    }
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return () => {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  };
}

/** The result, one figure a line. Lines without an answer appear only when the import stopped early. */
export function summaryOf(tally: ImportTally, refusedPath: string): string {
  const unanswered = tally.read - tally.created - tally.duplicates - tally.refused;
  const rows: [string, string][] = [
    ['lines read', `${tally.read}`],
    ['created', `${tally.created}`],
    ['duplicates', `${tally.duplicates}`],
    ['refused', tally.refused > 0 ? `${tally.refused}  (see ${refusedPath})` : '0'],
    ['seconds', tally.seconds.toFixed(1)],
    ['events/s', `${ratePerSecond(tally)}`],
  ];
  if (unanswered > 0) rows.splice(4, 0, ['no answer', `${unanswered}`]);
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join('');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
