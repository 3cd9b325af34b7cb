import {
  NO_STORE,
  Operation,
  problemContent,
  type ResponseDescription,
  sharedHeaders,
} from '../http/operation.openapi';

const INDICATORS = { type: 'object', additionalProperties: true };

const SHAPE = {
  type: 'object',
  required: ['status', 'info', 'error', 'details'],
  properties: {
    status: {
      type: 'string',
      enum: ['ok', 'degraded', 'error', 'shutting_down'],
      description: '`degraded` when something is impaired that requests do not depend on.',
    },
    info: { ...INDICATORS, description: 'What is well, by the name of its indicator.' },
    error: { ...INDICATORS, description: 'What is not.' },
    details: { ...INDICATORS, description: 'Both.' },
  },
};

type Indicators = Record<string, { status: 'up' | 'degraded' | 'down'; [key: string]: unknown }>;

/** What a probe documents of itself. */
export interface ProbeDocumentation {
  summary: string;
  /** When it answers 200, and an example of what it then finds. */
  up: { description: string; example: Indicators };
  /** What it finds when something is impaired and it still answers 200. Absent for a probe that never sees that. */
  degraded?: Indicators;
  /** When it answers 503. Absent for a probe that never does. */
  down?: { description: string; example: Indicators };
}

/** Documents a probe: no token, two possible responses of the same shape. */
export function Probe({ summary, up, degraded, down }: ProbeDocumentation): MethodDecorator {
  const responses: Record<number, ResponseDescription> = {
    200: {
      description: up.description,
      headers: NO_STORE,
      content: jsonContent({
        ok: { value: bodyOf('ok', up.example) },
        ...(degraded ? { degraded: { value: bodyOf('degraded', degraded) } } : {}),
      }),
    },
  };
  if (down) {
    responses[503] = {
      description: `${down.description} A problem document until the boot is over.`,
      headers: sharedHeaders('Cache-Control', 'Retry-After'),
      content: {
        ...jsonContent({ error: { value: bodyOf('error', down.example) } }),
        ...problemContent(['NOT_READY']),
      },
    };
  }
  return Operation({ summary, description: 'No token needed.', isPublic: true, responses });
}

function jsonContent(examples: Record<string, { value: object }>) {
  return { 'application/json': { schema: SHAPE, examples } };
}

function bodyOf(status: 'ok' | 'degraded' | 'error', details: Indicators): object {
  const whichAre = (isDown: boolean) =>
    Object.fromEntries(
      Object.entries(details).filter(([, one]) => (one.status === 'down') === isDown),
    );
  return { status, info: whichAre(false), error: whichAre(true), details };
}
