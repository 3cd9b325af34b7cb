import { applyDecorators } from '@nestjs/common';
import { ApiOperation, ApiResponse } from '@nestjs/swagger';
import { ApiProblems, ApiRequestId, headersWith, problemContent } from '../errors/problem.openapi';

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

type Indicators = Record<string, { status: 'up' | 'down'; [key: string]: unknown }>;

/** What a probe documents of itself. */
export interface ProbeDocumentation {
  summary: string;
  /** When it answers 200, and an example of what it then finds. */
  up: { description: string; example: Indicators };
  /** When it answers 503. Absent for a probe that never does. */
  down?: { description: string; example: Indicators };
}

/** Documents a probe: no token, two possible answers of the same shape. */
export function ApiProbe({ summary, up, down }: ProbeDocumentation): MethodDecorator {
  const answers = [response(200, up.description, answerOf('ok', up.example))];
  if (down) answers.push(response(503, down.description, answerOf('error', down.example)));
  return applyDecorators(
    ApiOperation({ summary, description: 'No token needed.', security: [] }),
    ApiRequestId(),
    ...answers,
    ApiProblems('CLIENT_TIMEOUT', 'HEADERS_TOO_LARGE', 'INTERNAL'),
  );
}

function answerOf(status: 'ok' | 'error', details: Indicators): object {
  const having = (wanted: string) =>
    Object.fromEntries(Object.entries(details).filter(([, one]) => one.status === wanted));
  return { status, info: having('up'), error: having('down'), details };
}

function response(status: number, description: string, example: object): MethodDecorator {
  const isDown = status === 503;
  return ApiResponse({
    status,
    description: isDown ? `${description} A problem document until the boot is over.` : description,
    headers: headersWith('Cache-Control', ...(isDown ? (['Retry-After'] as const) : [])),
    content: {
      'application/json': { schema: SHAPE, example },
      ...(isDown ? problemContent(['NOT_READY']) : {}),
    },
  });
}
