import { whileOccupied } from './heads.fixture';
import { newEvent, writeRequest } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';

const FLOOD = 150;
/** That of `writeRequest`, so that those who occupy the writer are no other lane. */
const FLOOD_LANE = 'org-1';

describe('a shared transaction while the event loop has no time', () => {
  const replicas = useTwoReplicas();

  beforeAll(() => replicas.one.contention.noteLoop(1));

  it.each([
    ['takes all of a lane that is alone', [], [FLOOD]],
    ['takes a few of each of several lanes', ['quiet'], [33, 32, 32, 32, 22]],
  ])('%s', async (_, others, sizes) => {
    const { admin, one } = replicas;
    const commits: number[] = [];
    const record = (lane: string) => {
      const events = [newEvent({ organizationId: newOrganization() })];
      return one.writer.record(writeRequest(events, { lane }));
    };
    one.writer.onCommit(({ events }) => commits.push(events));
    await whileOccupied(admin, one, async () => {
      const lanes = [...Array.from({ length: FLOOD }, () => FLOOD_LANE), ...others];
      await Promise.all(lanes.map(record));
    });
    expect(commits.slice(-sizes.length)).toEqual(sizes);
  });
});
