import type { LoggerService } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { isatty } from 'node:tty';
import pino, { type DestinationStream, type Level, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { wallClockMs } from '../runtime/clocks';
import type { loggingConfig } from '../config/settings';
import { openStandardOutput } from './log-output';

/** Nest's messages about its own boot, logged at debug level. */
const BOOT_CONTEXTS = new Set<unknown>([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);
/** Context of a failed boot, which Nest logs with its stack before it throws; main.ts logs the reason. */
const FAILED_BOOT_CONTEXT = 'ExceptionHandler';
const STDOUT = 1;
const MESSAGE_KEY = 'message';
/** Left out of pretty text: redundant or useless there. */
const NOT_PRETTY =
  'pid,hostname,service,version,environment,context,traceId,spanId,method,route,status,userAgent';

export interface ServiceLog {
  pino: Logger;
  nest: LoggerService;
  /** Writes text to the output of the lines, in order with them. */
  print: (text: string) => void;
  /** Lines dropped since the start. */
  lostLines: () => number;
}

/** Nest's log over pino; the last text behind the messages is the context. */
class NestLogger implements LoggerService {
  constructor(private readonly logger: Logger) {}

  verbose(...args: unknown[]): void {
    this.write('trace', args);
  }

  debug(...args: unknown[]): void {
    this.write('debug', args);
  }

  log(...args: unknown[]): void {
    this.write(BOOT_CONTEXTS.has(args.at(-1)) ? 'debug' : 'info', args);
  }

  warn(...args: unknown[]): void {
    this.write('warn', args);
  }

  /** An error's stack, or undefined, may precede the context. */
  error(...args: unknown[]): void {
    this.write(args.at(-1) === FAILED_BOOT_CONTEXT ? 'debug' : 'error', args);
  }

  fatal(...args: unknown[]): void {
    this.write('fatal', args);
  }

  private write(level: Level, messages: unknown[]): void {
    const context = takeText(messages);
    const stack = level === 'error' ? takeText(messages) : undefined;
    const bindings = { ...(context ? { context } : {}), ...(stack ? { stack } : {}) };
    for (const message of messages) {
      const text = message instanceof Error ? (message.stack ?? message.message) : String(message);
      this.logger[level](bindings, text);
    }
  }
}

/** Removes the last value when it is a text. */
function takeText(values: unknown[]): string | undefined {
  const last = values.at(-1);
  if (values.length < 2 || (last !== undefined && typeof last !== 'string')) return undefined;
  values.pop();
  return last;
}

/**
 * The log for `LOG_LEVEL` and `LOG_FORMAT`, to stdout without waiting (LogOutput) or synchronously to `destination`.
 */
export function createLog(
  { level, format, service, version, environment }: ConfigType<typeof loggingConfig>,
  destination?: DestinationStream,
): ServiceLog {
  const output = destination ? undefined : openStandardOutput(reportLoss);
  const target = destination ?? openStandardOutput(reportLoss);
  const stream = format === 'pretty' ? prettyStream(target) : target;
  const logger = pino(
    {
      level,
      messageKey: MESSAGE_KEY,
      base: { pid: process.pid, service, version, environment },
      timestamp: isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
  const nest = new NestLogger(logger);
  function reportLoss(lines: number): void {
    nest.warn(`${lines} lines before this one were lost: standard output took no more.`, 'Log');
  }
  return {
    pino: logger,
    nest,
    print: (text) => target.write(text),
    lostLines: () => output?.lostLines ?? 0,
  };
}

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

/** ISO 8601 in UTC, once for the lines of a millisecond: making it costs as much as the rest of a line. */
function isoTime(): string {
  const nowMs = wallClockMs();
  if (nowMs !== stampedMs) {
    stampedMs = nowMs;
    stamp = `,"timestamp":"${new Date(nowMs).toISOString()}"`;
  }
  return stamp;
}
