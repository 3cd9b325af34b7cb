import { Subject } from 'rxjs';
import { valuesOf } from './values-of';

describe('values of a source', () => {
  it('are all those since the call, in their order, until the signal aborts', async () => {
    const source = new Subject<number>();
    const controller = new AbortController();
    source.next(0);
    const values = valuesOf(source, controller.signal);
    source.next(1);
    source.next(2);
    expect((await values.next()).value).toBe(1);
    expect((await values.next()).value).toBe(2);
    const later = values.next();
    source.next(3);
    expect((await later).value).toBe(3);
    const last = values.next();
    controller.abort();
    expect((await last).done).toBe(true);
    expect(source.observed).toBe(false);
  });

  it('end with an error for a reader who lets too many wait, and none is lost before that', async () => {
    const source = new Subject<number>();
    const values = valuesOf(source, new AbortController().signal);
    for (let value = 0; value < 2000; value += 1) source.next(value);
    await expect(values.next()).rejects.toMatchObject({ code: 'SLOW_CONSUMER' });
    expect(source.observed).toBe(false);
  });
});
