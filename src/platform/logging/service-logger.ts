import type { LoggerService } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { isatty } from 'node:tty';
import { NativeLogger, type PinoLogger } from 'nestjs-pino';
import pino, { type DestinationStream, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { wallClockMs } from '../runtime/clocks';
import type { loggingConfig } from '../config/logging.config';
import { openStandardOutput } from './log-output';

/** What Nest tells of its own boot: for debugging only. */
const BOOT_CONTEXTS = new Set([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);
/** Where Nest tells of a boot that failed, stack and all, before it hands on the error; who started it says why. */
const FAILED_BOOT_CONTEXT = 'ExceptionHandler';
const STDOUT = 1;
const MESSAGE_KEY = 'message';
/** In text for people the message of a request says it, or nobody reads it there. */
const NOT_PRETTY = 'pid,hostname,context,traceId,spanId,method,route,status';

/** The one log of the process, for Nest and for what writes lines of its own. */
export interface ServiceLog {
  pino: Logger;
  nest: LoggerService;
  /** Writes text for people where the lines go, in order with them. */
  print: (text: string) => void;
  /** Lines that were dropped, as nothing took them. */
  lostLines: () => number;
}

class NestLogger extends NativeLogger {
  override log(message: unknown, ...rest: unknown[]): void {
    const context = rest.at(-1);
    if (typeof context === 'string' && BOOT_CONTEXTS.has(context)) this.debug(message, ...rest);
    else super.log(message, ...rest);
  }

  override error(message: unknown, ...rest: unknown[]): void {
    if (rest.at(-1) === FAILED_BOOT_CONTEXT) this.debug(message, ...rest);
    else super.error(message, ...rest);
  }
}

/**
 * The log that `LOG_LEVEL` and `LOG_FORMAT` ask for. Lines go to stdout without being waited for (LogOutput); or to
 * `destination`, at once.
 */
export function createLog(
  { level, format }: ConfigType<typeof loggingConfig>,
  destination?: DestinationStream,
): ServiceLog {
  const output = destination ? undefined : openStandardOutput(tellOfLoss);
  const target = destination ?? openStandardOutput(tellOfLoss);
  const stream = format === 'pretty' ? prettyStream(target) : target;
  const logger = pino(
    {
      level,
      messageKey: MESSAGE_KEY,
      base: { pid: process.pid },
      timestamp: isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
  // PinoLogger finds a logger in an AsyncLocalStorage; what NativeLogger asks of it is a pino logger's own methods.
  const nest = new NestLogger(logger as unknown as PinoLogger, {});
  function tellOfLoss(lines: number): void {
    nest.warn(`${lines} lines before this one were lost: standard output took no more.`, 'Log');
  }
  return {
    pino: logger,
    nest,
    print: (text) => target.write(text),
    lostLines: () => output?.lostLines ?? 0,
  };
}

/** For people at a terminal. */
function prettyStream(destination: DestinationStream): DestinationStream {
  const format = prettyFactory({
    colorize: isatty(STDOUT),
    messageKey: MESSAGE_KEY,
    timestampKey: 'timestamp',
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
    messageFormat: '{if context}[{context}] {end}{message}',
    singleLine: true,
    ignore: NOT_PRETTY,
  });
  return { write: (line) => destination.write(format(line)) };
}

let stampedMs = 0;
let stamp = '';

/** ISO 8601 in UTC; lines of the same millisecond share the text, as making it costs as much as the rest of a line. */
function isoTime(): string {
  const nowMs = wallClockMs();
  if (nowMs !== stampedMs) {
    stampedMs = nowMs;
    stamp = `,"timestamp":"${new Date(nowMs).toISOString()}"`;
  }
  return stamp;
}
