import { abortable, abortablePromise, onAbort, withDeadline } from './abort';

const REASON = new Error('enough');

describe('onAbort', () => {
  it('calls once, at once when the signal has aborted, and never after it was removed', () => {
    const calls: string[] = [];
    const controller = new AbortController();
    onAbort(controller.signal, () => calls.push('kept'));
    onAbort(controller.signal, () => calls.push('removed'))();
    controller.abort(REASON);
    expect(calls).toEqual(['kept']);
    onAbort(controller.signal, () => calls.push('late'));
    expect(calls).toEqual(['kept', 'late']);
    onAbort(undefined, () => calls.push('none'))();
    expect(calls).toHaveLength(2);
  });
});

describe('abortable', () => {
  it('gives the result of the work, or the reason of the signal when that aborts first', async () => {
    const controller = new AbortController();
    await expect(abortable(Promise.resolve(1), controller.signal)).resolves.toBe(1);
    const endless = abortable(new Promise(() => undefined), controller.signal);
    controller.abort(REASON);
    await expect(endless).rejects.toBe(REASON);
    const work = new Promise((resolve) => setImmediate(() => resolve(2)));
    await expect(abortable(work, controller.signal, 10_000)).resolves.toBe(2);
  });
});

describe('abortablePromise', () => {
  it('rejects with what its cancellation gives, or goes on waiting', async () => {
    const controller = new AbortController();
    const cancelled = abortablePromise(controller.signal, () => (reason) => reason);
    let resolveLater: (value: number) => void = () => undefined;
    const kept = abortablePromise<number>(controller.signal, (resolve) => {
      resolveLater = resolve;
      return () => undefined;
    });
    controller.abort(REASON);
    await expect(cancelled).rejects.toBe(REASON);
    resolveLater(3);
    await expect(kept).resolves.toBe(3);
    const executor = jest.fn();
    await expect(abortablePromise(controller.signal, executor)).rejects.toBe(REASON);
    expect(executor).not.toHaveBeenCalled();
  });
});

describe('withDeadline', () => {
  const endless = (signal: AbortSignal) => abortable(new Promise(() => undefined), signal);
  const late = () => new Error('late');

  it('aborts the work at its end, and when the signal of its caller aborts', async () => {
    await expect(withDeadline({ timeoutMs: 1, late }, endless)).rejects.toThrow('late');
    const controller = new AbortController();
    const work = withDeadline({ timeoutMs: 60_000, late, signal: controller.signal }, endless);
    controller.abort(REASON);
    await expect(work).rejects.toBe(REASON);
  });
});
