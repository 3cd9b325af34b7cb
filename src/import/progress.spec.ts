import { summaryOf } from './import-command';
import { Progress } from './progress';

const tally = { read: 9, created: 3, joined: 0, duplicates: 1, refused: 2, seconds: 2 };

function shown(isTTY: boolean, isQuiet = false) {
  const written: string[] = [];
  let nowMs = 0;
  const terminal = { isTTY, write: (text: string) => written.push(text) };
  const progress = new Progress(terminal, isQuiet, () => nowMs);
  return {
    written,
    progress,
    at: (ms: number) => {
      nowMs = ms;
      progress.update(tally, 0.5);
    },
  };
}

describe('Progress', () => {
  it('rewrites one line on a terminal and removes it before a message', () => {
    const { written, progress, at } = shown(true);
    [50, 100, 150, 250].forEach(at);
    progress.say('hello');
    const line = '\r\u001b[K[############............]  50 %  4 events, 2/s';
    expect(written).toEqual([line, line, '\r\u001b[K', 'hello\n']);
  });

  it('writes plain lines now and then elsewhere', () => {
    const { written, at } = shown(false);
    [100, 5_000, 9_000, 10_000].forEach(at);
    expect(written).toEqual([' 50 %, 4 events, 2/s\n', ' 50 %, 4 events, 2/s\n']);
  });

  it('keeps quiet but for messages', () => {
    const { written, progress, at } = shown(true, true);
    [100, 5_000].forEach(at);
    progress.say('hello');
    expect(written).toEqual(['hello\n']);
  });
});

describe('summaryOf', () => {
  it('gives one figure a line', () => {
    expect(summaryOf(tally, '/f')).toBe(
      [
        'lines read  9',
        'created     3',
        'duplicates  1',
        'refused     2  (see /f)',
        'no answer   3',
        'seconds     2.0',
        'events/s    2',
        '',
      ].join('\n'),
    );
  });
});
