import { BEGINNING, type LogPosition, type LogPositions } from './position';

/** Limit of organizations whose positions fit into a cursor: a header (Last-Event-ID) or a URL has to hold it. */
export const MAX_POSITIONS = 100;

/**
 * At most 18 digits, which bigint holds and no organization reaches, and the recording's microseconds in base 36,
 * absent in cursors of earlier versions (docs/adr/0029) and typed numbers.
 */
const POSITION = /^(0|[1-9]\d{0,17})(?:\.([1-9a-z][0-9a-z]{0,10}))?$/;

const SEPARATOR = '~';

/** Positions as text, in the order of `organizations`: `12.mf3k2q1z9a~0~7.mf4…`. */
export function positionsText(organizations: readonly string[], positions: LogPositions): string {
  return textsOf(organizations, positions).join(SEPARATOR);
}

function textsOf(organizations: readonly string[], positions: LogPositions): string[] {
  return organizations.map((id) => knownText(positions.get(id) ?? BEGINNING));
}

/** A feed has a cursor after each event, in which one position of up to a hundred is new. */
const knownTexts = new WeakMap<LogPosition, string>();

function knownText(position: LogPosition): string {
  const known = knownTexts.get(position);
  if (known !== undefined) return known;
  const text = positionText(position);
  knownTexts.set(position, text);
  return text;
}

/** Positions whose text is needed after each event: only that of its organization is made again. */
export class AdvancingPositions {
  private readonly texts: string[];
  private readonly places: ReadonlyMap<string, number>;

  constructor(organizations: readonly string[], positions: LogPositions) {
    this.texts = textsOf(organizations, positions);
    this.places = new Map(organizations.map((id, at) => [id, at]));
  }

  set(organizationId: string, position: LogPosition): void {
    const place = this.places.get(organizationId);
    if (place !== undefined) this.texts[place] = positionText(position);
  }

  /** As positionsText. */
  toString(): string {
    return this.texts.join(SEPARATOR);
  }
}

/** Positions in a text for these organizations; undefined when it is none. */
export function parsePositions(
  texts: readonly string[],
  organizations: readonly string[],
): LogPositions | undefined {
  if (texts.length !== organizations.length) return undefined;
  const positions: LogPositions = new Map();
  for (const [at, id] of organizations.entries()) {
    const position = parsePosition(texts[at] ?? '');
    if (!position) return undefined;
    positions.set(id, position);
  }
  return positions;
}

function positionText({ sequence, recordedMicros }: LogPosition): string {
  if (sequence === 0n || recordedMicros === undefined) return String(sequence);
  return `${sequence}.${recordedMicros.toString(36)}`;
}

function parsePosition(text: string): LogPosition | undefined {
  const [, sequence, time] = POSITION.exec(text) ?? [];
  const recordedMicros = time === undefined ? undefined : Number.parseInt(time, 36);
  const isExact = recordedMicros === undefined || recordedMicros.toString(36) === time;
  if (sequence === undefined || !isExact || (sequence === '0' && time !== undefined)) {
    return undefined;
  }
  return { sequence: BigInt(sequence), recordedMicros };
}
