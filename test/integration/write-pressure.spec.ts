import { whileOccupied } from './heads.fixture';
import { newEvent, writeRequest } from './replica.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';

const FLOOD = 150;
/** That of `writeRequest`, so that those who occupy the writer are no other flow. */
const FLOOD_FLOW = 'org-1';

describe('the batch size under event-loop pressure', () => {
  const replicas = useTwoReplicas();

  beforeAll(() => replicas.one.contention.noteLoop(1));

  it.each([
    ['takes all of a flow that is alone', [], [FLOOD]],
    ['takes a few of each of several flows', ['quiet'], [33, 32, 32, 32, 22]],
  ])('%s', async (_, others, sizes) => {
    const { admin, one } = replicas;
    const commits: number[] = [];
    const record = (flow: string) => {
      const events = [newEvent({ organizationId: newOrganization() })];
      return one.writer.write(writeRequest(events, { flow }));
    };
    one.writer.onCommit(({ events }) => commits.push(events));
    await whileOccupied(admin, one, async () => {
      const flows = [...Array.from({ length: FLOOD }, () => FLOOD_FLOW), ...others];
      await Promise.all(flows.map(record));
    });
    expect(commits.slice(-sizes.length)).toEqual(sizes);
  });
});
