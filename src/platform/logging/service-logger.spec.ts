import type { LoggerService } from '@nestjs/common';
import type { LoggingConfig } from '../config/settings';
import { createLog } from './service-logger';

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;

/** Returns the output of a logger with these settings that `work` uses. */
function written(
  config: Pick<LoggingConfig, 'level' | 'format'>,
  work: (logger: Required<LoggerService>) => void,
): string {
  const parts: string[] = [];
  const destination = { write: (text: string) => parts.push(text) > 0 };
  const named = {
    ...config,
    service: 'audit-server',
    version: '1.2.3',
    environment: 'staging' as const,
  };
  work(createLog(named, destination).nest as Required<LoggerService>);
  return parts.join('');
}

function sayEverything(logger: Required<LoggerService>): void {
  logger.fatal('a fatal', 'Spec');
  logger.error('a error', undefined, 'Spec');
  logger.warn('a warn', 'Spec');
  logger.log('a info', 'Spec');
  logger.debug('a debug', 'Spec');
  logger.verbose('a trace', 'Spec');
}

describe('the logger', () => {
  it.each([...LEVELS, 'silent'] as const)(
    'at LOG_LEVEL=%s says that and worse, no less',
    (level) => {
      const expected = level === 'silent' ? [] : LEVELS.slice(0, LEVELS.indexOf(level) + 1);
      for (const format of ['json', 'pretty'] as const) {
        const text = written({ level, format }, sayEverything);
        expect(LEVELS.filter((name) => text.includes(`a ${name}`))).toEqual(expected);
      }
    },
  );

  it('writes one JSON object a line with LOG_FORMAT=json, also of several lines and of errors', () => {
    const text = written({ level: 'trace', format: 'json' }, (logger) => {
      sayEverything(logger);
      logger.log('two\nlines "quoted"', 'Spec');
      logger.error(new Error('broken').message, 'Error: broken\n    at somewhere', 'Spec');
    });
    const lines = text.split('\n');
    expect(lines.pop()).toBe('');
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(entries).toHaveLength(LEVELS.length + 2);
    for (const entry of entries) {
      expect(entry).toMatchObject({
        context: 'Spec',
        message: expect.any(String) as string,
        service: 'audit-server',
        version: '1.2.3',
        environment: 'staging',
      });
    }
    expect(entries.at(-2)).toMatchObject({ level: 'info', message: 'two\nlines "quoted"' });
  });

  it('writes text for people with LOG_FORMAT=pretty, without colours where there is no terminal', () => {
    const text = written({ level: 'info', format: 'pretty' }, (logger) =>
      logger.log('hello', 'Spec'),
    );
    expect(text).toMatch(/\[Spec\] hello\n$/);
    expect(text).not.toContain('\u001b');
  });

  it('keeps what Nest tells of its own boot for debugging', () => {
    const boot = (logger: Required<LoggerService>) => {
      logger.log('Mapped {/health, GET} route', 'RouterExplorer');
    };
    expect(written({ level: 'info', format: 'json' }, boot)).toBe('');
    expect(written({ level: 'debug', format: 'json' }, boot)).toContain('Mapped');
  });

  it('keeps the stack of a failed boot for debugging, as who started it says why', () => {
    const fail = (logger: Required<LoggerService>) => {
      logger.error(new Error('the folder is in use'), 'ExceptionHandler');
      logger.error(new Error('something else'), 'ExceptionsHandler');
    };
    const shown = written({ level: 'info', format: 'json' }, fail);
    expect(shown).not.toContain('the folder is in use');
    expect(shown).toContain('something else');
    expect(written({ level: 'debug', format: 'json' }, fail)).toContain('the folder is in use');
  });
});
