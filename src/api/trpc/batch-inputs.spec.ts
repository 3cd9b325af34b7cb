import { EventEmitter } from 'node:events';
import type { Request, Response } from 'express';
import { type BatchBodyReader, BatchInputs } from './batch-inputs';

const fail = (error: unknown) => {
  throw error;
};

describe('the calls of a batch', () => {
  it('go on ten at a time, in their order', async () => {
    const response = new EventEmitter() as unknown as Response;
    const inputs = new BatchInputs({} as Request, response, {} as BatchBodyReader);
    const begun: number[] = [];
    for (let index = 0; index < 12; index += 1) {
      inputs.begin();
      inputs.turn().then(() => begun.push(index), fail);
    }
    await new Promise(setImmediate);
    expect(begun).toHaveLength(10);
    inputs.finish();
    await new Promise(setImmediate);
    expect(begun.at(-1)).toBe(10);
    for (let index = 0; index < 10; index += 1) inputs.finish();
    await new Promise(setImmediate);
    expect(begun.at(-1)).toBe(11);
    expect(inputs.isFinished).toBe(false);
    inputs.finish();
    expect(inputs.isFinished).toBe(true);
  });
});
