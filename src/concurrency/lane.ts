/** What a lane is taken from; a principal has it. */
export interface LaneHolder {
  subject: string;
  organizations: readonly string[] | '*';
}

/**
 * The lane in which somebody waits: that of his organization, so that all who work for it share its turns; for one of
 * several or of all organizations a lane of his own, as none of them is to wait for what he does with the others.
 */
export function laneOf({ subject, organizations }: LaneHolder): string {
  const [only, ...others] = organizations === '*' ? [] : organizations;
  return only !== undefined && others.length === 0 ? `org:${only}` : `sub:${subject}`;
}
