import { applyDecorators } from '@nestjs/common';
import { ApiOperation, ApiResponse } from '@nestjs/swagger';
import {
  ApiProblems,
  ApiRequestId,
  headersWith,
  problemContent,
} from '../http/problems/problem.openapi';

const INDICATORS = { type: 'object' as const, additionalProperties: true };

const SHAPE = {
  type: 'object' as const,
  required: ['status', 'info', 'error', 'details'],
  properties: {
    status: {
      type: 'string' as const,
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

/** Documents a probe: no token, two possible answers of the same shape. */
export function ApiProbe({ summary, up, degraded, down }: ProbeDocumentation): MethodDecorator {
  const examples = {
    ok: { value: composedResponseOf('ok', up.example) },
    ...(degraded ? { degraded: { value: composedResponseOf('degraded', degraded) } } : {}),
  };
  const answers = [response(200, up.description, examples)];
  if (down) {
    const error = { value: composedResponseOf('error', down.example) };
    answers.push(response(503, down.description, { error }));
  }
  return applyDecorators(
    ApiOperation({ summary, description: 'No token needed.', security: [] }),
    ApiRequestId(),
    ...answers,
    ApiProblems('CLIENT_TIMEOUT', 'HEADERS_TOO_LARGE', 'INTERNAL'),
  );
}

function composedResponseOf(status: 'ok' | 'degraded' | 'error', details: Indicators): object {
  const whichAre = (isDown: boolean) =>
    Object.fromEntries(
      Object.entries(details).filter(([, one]) => (one.status === 'down') === isDown),
    );
  return { status, info: whichAre(false), error: whichAre(true), details };
}

function response(
  status: number,
  description: string,
  examples: Record<string, { value: object }>,
): MethodDecorator {
  const isDown = status === 503;
  return ApiResponse({
    status,
    description: isDown ? `${description} A problem document until the boot is over.` : description,
    headers: headersWith('Cache-Control', ...(isDown ? (['Retry-After'] as const) : [])),
    content: {
      'application/json': { schema: SHAPE, examples },
      ...(isDown ? problemContent(['NOT_READY']) : {}),
    },
  });
}
