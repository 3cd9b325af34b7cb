import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

/** A service for specs that send what must be refused. */
export interface RefusingService {
  service: TestService;
  /** Of an operator: may write everywhere. */
  token: string;
}

/** Runs it for the specs of a file, and sees after each that nothing refused was stored. Filled in before the first. */
export function useRefusingService(): RefusingService {
  const running: Partial<RefusingService> = {};
  const countStored = async (): Promise<number> => {
    const path = `${EVENTS}?actions=refused&include_total=true`;
    const answer = await running.service?.get(path, running.token);
    return answer?.json.pagination.total as number;
  };
  let before: number;
  beforeAll(async () => {
    running.service = await TestService.start();
    running.token = await tokenOf({ organizations: ['*'] });
  });
  beforeEach(async () => {
    before = await countStored();
  });
  afterEach(async () => {
    expect(await countStored()).toBe(before);
  });
  afterAll(() => running.service?.stop());
  return running as RefusingService;
}

/** An event that would be stored under the action that `useRefusingService` counts. */
export function refusedEvent(members: Record<string, unknown> = {}): Record<string, unknown> {
  return eventWith({ action: 'refused', ...members });
}
