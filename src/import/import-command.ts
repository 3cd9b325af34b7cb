import { readArguments, USAGE, UsageError, type ImportArguments } from './arguments';
import { BulkClient, ChunkSender, type Clock, SYSTEM_CLOCK } from './chunk-sender';
import { recordFormat } from './record-formats';
import { chunksOf, RecordReader } from './record-reader';
import { ImportRun, RefusedFile, type ImportTally } from './import-run';
import { Progress, ratePerSecond, type Terminal } from './progress';
import { RecordSource } from './record-source';

/** Far below REQUEST_MAX_SIZE_MB, so that a request is stored in a moment. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** The default of REQUEST_MAX_SIZE_MB: a longer line could not be sent. */
const MAX_LINE_BYTES = 10 * 1024 * 1024;

/** npm forwards a Ctrl-C that the terminal has delivered already: what follows this fast is the same one. */
const SAME_SIGNAL_MS = 1_000;

const EXIT = { done: 0, failed: 1, usage: 2, someRefused: 3, interrupted: 130 } as const;

export interface CommandProcess {
  environment: NodeJS.ProcessEnv;
  output: { write: (text: string) => unknown };
  terminal: Terminal;
  clock: Clock;
}

const PROCESS: CommandProcess = {
  environment: process.env,
  output: process.stdout,
  terminal: process.stderr,
  clock: SYSTEM_CLOCK,
};

/** Imports the file; only the summary goes to standard output. Resolves to the exit status. */
export async function runImportCommand(
  argv: string[],
  { environment, output, terminal, clock }: CommandProcess = PROCESS,
): Promise<number> {
  let given: ImportArguments | undefined;
  try {
    given = readArguments(argv, environment);
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
  const removeListeners = stopOnSignals(stop, progress);
  const refusedFile = new RefusedFile(given.refusedPath);
  let run: ImportRun | undefined;
  let failure: unknown;
  try {
    const { format, organizationId, isRawCsv, isBasic } = given;
    const source = new RecordSource(
      given.files,
      recordFormat(format),
      { isRaw: isRawCsv, organizationId },
      MAX_LINE_BYTES,
      stop.signal,
    );
    const reader = new RecordReader(format, organizationId, isBasic);
    const limits = { maxEvents: given.batchSize, maxBytes: MAX_BODY_BYTES };
    const client = new BulkClient(given.url, given.token);
    const sender = new ChunkSender(client, clock, stop.signal, (reason, waitMs) =>
      progress.say(`${reason}; trying again in ${(waitMs / 1000).toFixed(1)} s`),
    );
    run = new ImportRun(sender, refusedFile, given.concurrency, stop, (tally) =>
      progress.update(tally, source.fraction()),
    );
    await run.run(chunksOf(source.records(), reader, limits));
  } catch (error) {
    failure = error;
  } finally {
    await refusedFile.close().finally(removeListeners);
    progress.finish();
  }
  const wasInterrupted = failure !== undefined && stop.signal.reason === INTERRUPTED;
  if (failure !== undefined) {
    const why = wasInterrupted ? 'Interrupted.' : `Stopped: ${messageOf(failure)}`;
    progress.say(`${why}\nTo resume, run the same command again: nothing is stored twice.`);
  }
  if (run) output.write(summaryOf(run.tally, given.refusedPath));
  if (wasInterrupted) return EXIT.interrupted;
  if (failure !== undefined) return EXIT.failed;
  return run && run.tally.refused > 0 ? EXIT.someRefused : EXIT.done;
}

const INTERRUPTED = new Error('interrupted');

/** The first signal ends the import in good order, a second one at once. */
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

/** One figure a line. Lines without a response appear only when the import stopped early. */
export function summaryOf(tally: ImportTally, refusedPath: string): string {
  const unanswered = tally.read - tally.joined - tally.created - tally.duplicates - tally.refused;
  const rows: [string, string][] = [
    ['lines read', `${tally.read}`],
    ...(tally.joined > 0 ? ([['joined', `${tally.joined}`]] as [string, string][]) : []),
    ['created', `${tally.created}`],
    ['duplicates', `${tally.duplicates}`],
    ['refused', tally.refused > 0 ? `${tally.refused}  (see ${refusedPath})` : '0'],
    ...(unanswered > 0 ? ([['no answer', `${unanswered}`]] as [string, string][]) : []),
    ['seconds', tally.seconds.toFixed(1)],
    ['events/s', `${ratePerSecond(tally)}`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join('');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
