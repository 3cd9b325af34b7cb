import { RollingWindow } from './rolling-window';

function windowOfCounts(slotSeconds: number, slotCount: number) {
  return new RollingWindow(
    slotSeconds,
    slotCount,
    () => ({ count: 0 }),
    (slot) => Object.assign(slot, { count: 0 }),
  );
}

describe('a rolling window', () => {
  it('holds what was recorded in its slots, the one under way included', () => {
    const window = windowOfCounts(10, 3);
    window.current(5).count += 1;
    window.current(9.9).count += 1;
    window.current(25).count += 1;
    expect(window.recent(29)).toEqual([{ count: 2 }, { count: 1 }]);
    expect(window.recent(29, 1)).toEqual([{ count: 1 }]);
    expect(window.recent(30)).toEqual([{ count: 1 }]);
    expect(window.recent(60)).toEqual([]);
  });

  it('writes over old slots', () => {
    const window = windowOfCounts(10, 3);
    window.current(5).count += 7;
    window.current(35).count += 1;
    expect(window.recent(35)).toEqual([{ count: 1 }]);
  });

  it('says when its oldest slot began', () => {
    const window = windowOfCounts(60, 60);
    expect(window.beginSeconds(7199)).toBe(3600);
    expect(window.beginSeconds(7199, 1)).toBe(7140);
  });
});
