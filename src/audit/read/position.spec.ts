import { isOfLog, isPosition } from './position';

describe('a position that came from elsewhere', () => {
  const good = {
    timestamp: '2026-11-23T10:30:00.000001Z',
    sequence: '42',
    id: '0198c1f2-0000-7000-8000-000000000000',
    organizationId: 'org-1',
  };

  it('is taken in the form of the projection', () => expect(isPosition(good)).toBe(true));

  it.each<[string, unknown]>([
    ['null', null],
    ['text', 'x'],
    ['no members', {}],
    ['a timestamp that is a number', { ...good, timestamp: 5 }],
    ['a timestamp of another form', { ...good, timestamp: 'yesterday' }],
    ['a sequence that is no number', { ...good, sequence: '1; x' }],
    ['an id that is no UUID', { ...good, id: 'x' }],
    ['no organization', { ...good, organizationId: undefined }],
  ])('is refused when it is %s', (_, value) => expect(isPosition(value)).toBe(false));
});

const MICROS = 1_000_000;
/** A log of ten events, recorded a second apart, of which those up to `nearest` are looked at. */
const log = (nearest: number | undefined, head = 10) => ({
  head: BigInt(head),
  headMicros: head * MICROS,
  nearest:
    nearest === undefined
      ? undefined
      : { sequence: BigInt(nearest), recordedMicros: nearest * MICROS, id: `id-${nearest}` },
});
const position = (sequence: number, recordedMicros?: number, id?: string) => ({
  sequence: BigInt(sequence),
  recordedMicros,
  id,
});

describe('a position is of a log', () => {
  it.each([
    ['the beginning, whatever is there', position(0), log(undefined, 0), true],
    ['the same event', position(7, 7 * MICROS), log(7), true],
    ['another one with the number', position(7, 7 * MICROS - 1), log(7), false],
    ['beyond the end', position(11, 7), log(10), false],
    ['a number alone', position(7), log(7), true],
    ['a number beyond the end', position(11), log(10), false],
    ['a number with the id of the event', position(7, undefined, 'id-7'), log(7), true],
    ['a number with another id', position(7, undefined, 'id-8'), log(7), false],
    ['an event that retention removed', position(7, 7 * MICROS), log(4), true],
    ['one removed with all before it', position(7, 7 * MICROS), log(undefined), true],
    ['one before which later ones are', position(7, 3 * MICROS), log(4), false],
  ])('%s', (_, at, stored, isIt) => {
    expect(isOfLog(at, stored)).toBe(isIt);
  });
});
